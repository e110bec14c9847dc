from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fuserec.losses import uniformity


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_three_items_by_hand() -> None:
    vectors = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-3.0, 0.0]])
    # squared distances 2, 4 and 2
    expected = math.log((2 * math.exp(-4) + math.exp(-8)) / 3)
    assert uniformity(vectors, items=torch.arange(3)).item() == pytest.approx(expected, rel=1e-5)


def test_its_ends_are_one_place_and_two_opposite_ones() -> None:
    assert uniformity(torch.ones(5, 3), items=torch.arange(5)).item() == pytest.approx(0.0, abs=1e-6)
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert uniformity(opposite, items=torch.arange(2)).item() == pytest.approx(-8.0, rel=1e-6)


def test_it_is_the_mean_over_pairs_of_distinct_items() -> None:
    vectors, items = drawn(0, 6, 3), torch.tensor([0, 1, 2, 1, 3, 0])
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    terms = [
        float(torch.exp(-2 * (unit[i] - unit[j]).square().sum()))
        for i in range(6)
        for j in range(6)
        if items[i] != items[j]
    ]
    expected = math.log(sum(terms) / len(terms))
    assert uniformity(vectors, items=items).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_without_a_pair_it_is_nothing_and_still_backpropagates(count: int) -> None:
    vectors = drawn(0, count, 3).requires_grad_()
    loss = uniformity(vectors, items=torch.zeros(count, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0.0
    assert vectors.grad is not None


def test_the_gradient_is_exact() -> None:
    items = torch.tensor([0, 1, 2, 3, 0])
    assert torch.autograd.gradcheck(
        lambda vectors: uniformity(vectors, items=items), [drawn(0, 5, 3).requires_grad_()]
    )
