from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from fuserec.losses import info_nce_reference, title_alignment


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def everywhere(views: int, items: int) -> Tensor:
    return torch.ones(views, items, dtype=torch.bool)


def test_two_views_by_hand() -> None:
    anchor = torch.eye(2)
    aligned, swapped = anchor, anchor.flip(0)
    loss = title_alignment(
        torch.stack([aligned, swapped]),
        anchor,
        present=everywhere(2, 2),
        titles=anchor,
        items=torch.arange(2),
        temperature=0.5,
    )
    # aligned: log(1 + e^-2); swapped: log(1 + e^2), both ways; and the mean of the two
    expected = (math.log1p(math.exp(-2)) + math.log1p(math.exp(2))) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_no_gradient_moves_the_anchor() -> None:
    views, anchor = drawn(0, 2, 5, 3).requires_grad_(), drawn(1, 5, 3).requires_grad_()
    title_alignment(
        views,
        anchor,
        present=everywhere(2, 5),
        titles=drawn(2, 5, 4),
        items=torch.arange(5),
        temperature=0.2,
    ).backward()
    assert anchor.grad is None
    assert views.grad is not None
    assert views.grad.any(dim=2).all()


def test_near_duplicate_titles_are_no_negatives_although_what_is_learnt_tells_them_apart() -> None:
    titles = torch.tensor([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0]])
    anchor = torch.eye(3)
    options: dict[str, Any] = {
        "present": everywhere(1, 3),
        "titles": titles,
        "items": torch.arange(3),
        "temperature": 1.0,
    }
    strict = title_alignment(anchor[None], anchor, **options)
    lenient = title_alignment(anchor[None], anchor, **options, same_above=0.99)
    one, two = (math.log1p(negatives * math.exp(-1)) for negatives in (1, 2))
    assert strict.item() == pytest.approx(two, rel=1e-5)
    assert lenient.item() == pytest.approx((2 * one + two) / 3, rel=1e-5)


def test_unlike_titles_stay_negatives_although_what_is_learnt_cannot_tell_them_apart() -> None:
    # A mask by the learnt cosine would leave nothing to tell apart, and a collapsed space would cost nothing.
    collapsed = torch.ones(4, 3)
    loss = title_alignment(
        collapsed[None],
        collapsed,
        present=everywhere(1, 4),
        titles=torch.eye(4),
        items=torch.arange(4),
        temperature=0.07,
        same_above=0.95,
    )
    assert loss.item() == pytest.approx(math.log(4), rel=1e-4)


def test_an_item_that_stands_twice_is_no_negative_of_itself() -> None:
    anchor = torch.eye(2)[[0, 1, 0]]
    loss = title_alignment(
        anchor[None],
        anchor,
        present=everywhere(1, 3),
        titles=anchor,
        items=torch.tensor([7, 3, 7]),
        temperature=1.0,
    )
    one, two = (math.log1p(negatives * math.exp(-1)) for negatives in (1, 2))
    assert loss.item() == pytest.approx((2 * one + two) / 3, rel=1e-5)


def test_what_an_item_lacks_counts_nowhere() -> None:
    views, anchor, titles = drawn(0, 2, 6, 3), drawn(1, 6, 3), drawn(2, 6, 4)
    present = torch.tensor([[True] * 6, [True, False, True, True, False, True]])
    options: dict[str, Any] = {
        "present": present,
        "titles": titles,
        "items": torch.arange(6),
        "temperature": 0.3,
    }
    garbage = views.clone()
    garbage[1, [1, 4]] = 1e6
    value = title_alignment(views, anchor, **options)
    assert title_alignment(garbage, anchor, **options).item() == value.item()
    rows = present[1]
    whole = info_nce_reference(views[0], anchor, temperature=0.3)
    part = info_nce_reference(views[1, rows], anchor[rows], temperature=0.3)
    torch.testing.assert_close(value, (whole + part) / 2)


def test_a_view_that_nobody_has_does_not_dilute_the_mean() -> None:
    views, anchor = drawn(0, 1, 5, 3), drawn(1, 5, 3)
    options: dict[str, Any] = {"titles": drawn(2, 5, 4), "items": torch.arange(5), "temperature": 0.3}
    alone = title_alignment(views, anchor, present=everywhere(1, 5), **options)
    present = torch.stack([everywhere(1, 5)[0], ~everywhere(1, 5)[0]])
    beside = title_alignment(views.repeat(2, 1, 1), anchor, present=present, **options)
    assert beside.item() == alone.item()


def test_without_any_view_it_is_nothing_and_still_backpropagates() -> None:
    views = drawn(0, 2, 3, 4).requires_grad_()
    loss = title_alignment(
        views,
        drawn(1, 3, 4),
        present=~everywhere(2, 3),
        titles=drawn(2, 3, 4),
        items=torch.arange(3),
        temperature=0.1,
    )
    loss.backward()
    assert loss.item() == 0.0
    assert views.grad is not None


def test_the_gradient_is_exact() -> None:
    views, anchor, titles = drawn(0, 2, 5, 3).requires_grad_(), drawn(1, 5, 3), drawn(2, 5, 4)
    present = torch.tensor([[True] * 5, [True, True, False, True, True]])
    items = torch.tensor([0, 1, 2, 3, 0])
    assert torch.autograd.gradcheck(
        lambda view: title_alignment(
            view, anchor, present=present, titles=titles, items=items, temperature=0.3, same_above=0.5
        ),
        [views],
        atol=1e-4,
    )
