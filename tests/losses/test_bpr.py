from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.losses import bpr

scores = st.lists(st.floats(-20, 20), min_size=1, max_size=6)


def test_one_pair_by_hand() -> None:
    # sigmoid(log 3) = 3/4
    assert bpr(torch.tensor([3.0]).log(), torch.zeros(1)).item() == pytest.approx(math.log(4 / 3))


@settings(deadline=None)
@given(scores, scores)
def test_it_is_the_mean_of_minus_log_sigmoid(positive: list[float], negative: list[float]) -> None:
    pairs = list(zip(positive, negative, strict=False))
    expected = sum(math.log1p(math.exp(n - p)) for p, n in pairs) / len(pairs)
    one, other = (torch.tensor(side, dtype=torch.float64) for side in zip(*pairs, strict=True))
    assert bpr(one, other).item() == pytest.approx(expected, rel=1e-7, abs=1e-8)


@settings(deadline=None)
@given(scores, st.floats(-100, 100))
def test_only_the_difference_counts(positive: list[float], shift: float) -> None:
    one = torch.tensor(positive, dtype=torch.float64)
    torch.testing.assert_close(bpr(one + shift, one.flip(0) + shift), bpr(one, one.flip(0)))


def test_scores_far_apart_neither_overflow_nor_lose_their_gradient() -> None:
    positive = torch.tensor([-1e4, 1e4], requires_grad=True)
    loss = bpr(positive, torch.zeros(2))
    loss.backward()
    assert loss.item() == 5000.0
    assert positive.grad is not None
    assert positive.grad.tolist() == [-0.5, 0.0]


def test_the_gradient_is_exact() -> None:
    rng = torch.Generator().manual_seed(0)
    leaves = [torch.randn(5, dtype=torch.float64, generator=rng).requires_grad_() for _ in range(2)]
    assert torch.autograd.gradcheck(bpr, leaves)
