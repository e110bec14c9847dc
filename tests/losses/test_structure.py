from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fuserec.losses import structure


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def everywhere(views: int, items: int) -> Tensor:
    return torch.ones(views, items, dtype=torch.bool)


def literal(views: Tensor, titles: Tensor, present: Tensor, items: Tensor) -> Tensor:
    """Pair by pair."""
    means = []
    for view, here in zip(views, present, strict=True):
        terms = [
            (
                view[i] @ view[j] / (view[i].norm() * view[j].norm())
                - titles[i] @ titles[j] / (titles[i].norm() * titles[j].norm())
            )
            ** 2
            for i in range(len(items))
            for j in range(len(items))
            if here[i] and here[j] and items[i] != items[j]
        ]
        if terms:
            means.append(torch.stack(terms).mean())
    return torch.stack(means).mean()


def test_three_items_by_hand() -> None:
    # titles at 0, 60 and 90 degrees: cosines 1/2, 0 and sqrt(3)/2; the view has collapsed: cosine 1 everywhere
    titles = torch.tensor([[1.0, 0.0], [0.5, 0.75**0.5], [0.0, 2.0]])
    loss = structure(torch.ones(1, 3, 4), titles, present=everywhere(1, 3), items=torch.arange(3))
    expected = ((1 - 0.5) ** 2 + 1 + (1 - 0.75**0.5) ** 2) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_a_collapsed_view_of_titles_of_many_dimensions_costs_almost_one_and_a_random_one_little() -> None:
    # E cos^2 of random directions is 1 / width: 1 + 1/64 collapsed, 1/32 + 1/64 at random
    titles, count = drawn(0, 400, 64), 400
    options = {"present": everywhere(1, count), "items": torch.arange(count)}
    collapsed = structure(torch.ones(1, count, 32, dtype=torch.float64), titles, **options)
    random = structure(drawn(1, 1, count, 32), titles, **options)
    assert collapsed.item() == pytest.approx(1 + 1 / 64, rel=0.01)
    assert random.item() == pytest.approx(1 / 32 + 1 / 64, rel=0.02)


def test_any_rotation_of_the_titles_keeps_their_structure() -> None:
    titles = drawn(0, 6, 5)
    rotation = torch.linalg.qr(drawn(1, 5, 5))[0]
    views = torch.stack([3.0 * titles @ rotation, drawn(2, 6, 5)])
    present = torch.stack([everywhere(1, 6)[0], ~everywhere(1, 6)[0]])
    assert structure(views, titles, present=present, items=torch.arange(6)).item() == pytest.approx(
        0.0, abs=1e-12
    )


def test_it_is_the_literal_mean_over_pairs() -> None:
    views, titles = drawn(0, 3, 7, 4), drawn(1, 7, 5)
    present = torch.ones(3, 7, dtype=torch.bool)
    present[1, [0, 3]] = False
    present[2] = False
    present[2, 4] = True  # one item alone makes no pair
    items = torch.tensor([0, 1, 2, 1, 4, 5, 0])
    torch.testing.assert_close(
        structure(views, titles, present=present, items=items), literal(views, titles, present, items)
    )


def test_an_item_that_stands_twice_makes_no_pair_with_itself() -> None:
    titles, view = torch.eye(2)[[0, 1, 0]], torch.eye(2)[[0, 1, 1]][None]
    loss = structure(view, titles, present=everywhere(1, 3), items=torch.tensor([4, 1, 4]))
    # pairs (0, 1): 0 against 0; (1, 2): 1 against 0; the pair (0, 2) would be 0 against 1
    assert loss.item() == pytest.approx(0.5)


def test_titles_stand_still_and_what_an_item_lacks_gets_no_gradient() -> None:
    views, titles = drawn(0, 1, 4, 3).requires_grad_(), drawn(1, 4, 3).requires_grad_()
    present = torch.tensor([[True, False, True, True]])
    structure(views, titles, present=present, items=torch.arange(4)).backward()
    assert titles.grad is None
    assert views.grad is not None
    assert views.grad.any(dim=2).tolist() == present.tolist()


def test_without_a_pair_it_is_nothing_and_still_backpropagates() -> None:
    views = drawn(0, 1, 3, 2).requires_grad_()
    loss = structure(views, drawn(1, 3, 2), present=everywhere(1, 3), items=torch.zeros(3, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0.0
    assert views.grad is not None


def test_the_gradient_is_exact() -> None:
    titles, present = drawn(1, 5, 4), torch.tensor([[True] * 5, [True, True, False, True, True]])
    items = torch.tensor([0, 1, 2, 3, 0])
    assert torch.autograd.gradcheck(
        lambda views: structure(views, titles, present=present, items=items),
        [drawn(0, 2, 5, 3).requires_grad_()],
    )
