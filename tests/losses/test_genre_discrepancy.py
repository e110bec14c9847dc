from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuserec.losses import genre_discrepancy, genre_discrepancy_reference


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_two_genres_of_two_items_by_hand() -> None:
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, 1.0]])
    genres = torch.tensor([[True, False], [True, False], [False, True], [False, True]])
    right, opposite = math.exp(-4), math.exp(-8)
    within = (2 + 2 * right) / 4
    between = (opposite + right + right + 1) / 4
    assert genre_discrepancy(vectors, genres).item() == pytest.approx(2 * within - 2 * between, rel=1e-5)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**16), st.integers(0, 7), st.integers(0, 4))
def test_the_product_form_is_the_mean_over_pairs_of_genres(seed: int, count: int, num_genres: int) -> None:
    genres = drawn(seed, count, num_genres) > 0.3
    leaves = [drawn(seed + 1, count, 3).requires_grad_() for _ in range(2)]
    values = genre_discrepancy(leaves[0], genres), genre_discrepancy_reference(leaves[1], genres)
    torch.testing.assert_close(*values)
    gradients = [torch.autograd.grad(value, leaf)[0] for value, leaf in zip(values, leaves, strict=True)]
    torch.testing.assert_close(*gradients)
    assert values[0].item() >= -1e-12


def test_genres_of_the_same_items_do_not_differ_and_genres_apart_do() -> None:
    vectors = drawn(0, 20, 4)
    same = torch.ones(20, 2, dtype=torch.bool)
    assert genre_discrepancy(vectors, same).item() == pytest.approx(0.0, abs=1e-12)
    halves = torch.stack([torch.arange(20) < 10, torch.arange(20) >= 10], 1)
    apart = vectors + 10.0 * torch.where(halves[:, :1], 1.0, -1.0)
    assert genre_discrepancy(apart, halves).item() > 5 * genre_discrepancy(vectors, halves).item()


def test_an_item_without_a_genre_counts_nowhere() -> None:
    vectors, genres = drawn(0, 6, 3), drawn(1, 6, 2) > 0
    genres[2] = False
    genres[0, 0] = genres[1, 1] = True
    moved = vectors.clone()
    moved[2] = 7.0
    assert genre_discrepancy(moved, genres).item() == pytest.approx(genre_discrepancy(vectors, genres).item())


def test_one_genre_has_nothing_to_differ_from_and_still_backpropagates() -> None:
    vectors = drawn(0, 3, 2).requires_grad_()
    loss = genre_discrepancy(vectors, torch.tensor([[True, False]] * 3))
    loss.backward()
    assert loss.item() == 0.0
    assert vectors.grad is not None


def test_the_gradient_is_exact() -> None:
    genres = drawn(1, 6, 3) > 0
    assert torch.autograd.gradcheck(
        lambda vectors: genre_discrepancy(vectors, genres), [drawn(0, 6, 3).requires_grad_()]
    )
