from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fuserec.losses import collaborative_alignment


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_two_items_by_hand() -> None:
    loss = collaborative_alignment(
        torch.tensor([[3.0, 0.0], [0.0, 0.5]]),
        torch.eye(2),
        known=torch.ones(2, dtype=torch.bool),
        items=torch.arange(2),
        temperature=0.1,
    )
    # cosines 1 and 0, both ways
    assert loss.item() == pytest.approx(math.log1p(math.exp(-10)), abs=1e-6)


def test_items_that_interactions_do_not_know_are_neither_found_nor_negatives() -> None:
    mapped, collaborative = drawn(0, 5, 3), drawn(1, 5, 3)
    known = torch.tensor([True, False, True, True, False])
    garbage = torch.where(known[:, None], collaborative, 1e6)
    found = collaborative_alignment(mapped, garbage, known=known, items=torch.arange(5), temperature=0.2)
    alone = collaborative_alignment(
        mapped[known], collaborative[known], known=known[known], items=torch.arange(3), temperature=0.2
    )
    assert found.item() == alone.item()


def test_an_item_that_stands_twice_is_no_negative_of_itself() -> None:
    both = torch.eye(2)[[0, 1, 0]]
    loss = collaborative_alignment(
        both, both, known=torch.ones(3, dtype=torch.bool), items=torch.tensor([5, 2, 5]), temperature=1.0
    )
    one, two = (math.log1p(negatives * math.exp(-1)) for negatives in (1, 2))
    assert loss.item() == pytest.approx((2 * one + two) / 3, rel=1e-5)


def test_what_interactions_say_stands_still() -> None:
    mapped, collaborative = drawn(0, 4, 3).requires_grad_(), drawn(1, 4, 3).requires_grad_()
    known = torch.tensor([True, True, False, True])
    collaborative_alignment(
        mapped, collaborative, known=known, items=torch.arange(4), temperature=0.1
    ).backward()
    assert collaborative.grad is None
    assert mapped.grad is not None
    assert mapped.grad.any(dim=1).tolist() == known.tolist()


def test_where_nothing_is_known_it_is_nothing_and_still_backpropagates() -> None:
    mapped = drawn(0, 3, 2).requires_grad_()
    loss = collaborative_alignment(
        mapped,
        drawn(1, 3, 2),
        known=torch.zeros(3, dtype=torch.bool),
        items=torch.arange(3),
        temperature=0.1,
    )
    loss.backward()
    assert loss.item() == 0.0
    assert mapped.grad is not None


def test_the_gradient_is_exact() -> None:
    collaborative, known = drawn(1, 5, 3), torch.tensor([True, True, False, True, True])
    items = torch.tensor([0, 1, 2, 0, 3])
    assert torch.autograd.gradcheck(
        lambda mapped: collaborative_alignment(
            mapped, collaborative, known=known, items=items, temperature=0.3
        ),
        [drawn(0, 5, 3).requires_grad_()],
        atol=1e-4,
    )
