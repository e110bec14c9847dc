"""Pooling against literal loops, and by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from fuserec.content import pooling

POOLS: dict[str, Callable[[tuple[float, ...]], float]] = {
    "mean": lambda column: math.fsum(column) / len(column),
    "first": lambda column: column[0],
    "maximum": max,
}


def literal(mode: str, tokens: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    """One text and one column at a time, in plain Python."""
    rows = []
    for text, mask in zip(tokens.tolist(), given.tolist(), strict=True):
        there = [vector for vector, given_ in zip(text, mask, strict=True) if given_]
        columns = list(zip(*there, strict=True)) or [(0.0,)] * tokens.shape[2]
        pool = POOLS[mode]
        rows.append([pool(column) for column in columns])
    return torch.tensor(rows, dtype=tokens.dtype)


@pytest.mark.parametrize("mode", ["mean", "first", "maximum"])
def test_each_pooling_equals_its_loop(mode: str) -> None:
    tokens = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64) - 2
    given = torch.arange(4) < torch.tensor([[4], [1], [3], [0], [2]])
    pooled = getattr(pooling, mode)(tokens, given)
    torch.testing.assert_close(pooled, literal(mode, tokens, given), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", ["mean", "first", "maximum"])
def test_what_fills_a_batch_up_changes_nothing(mode: str) -> None:
    tokens = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(4))
    given = torch.tensor([[True, True, False], [True, True, True]])
    other = tokens.clone()
    other[0, 2] = 1e6
    pool = getattr(pooling, mode)
    assert torch.equal(pool(tokens, given), pool(other, given))


def test_mean_by_hand() -> None:
    tokens = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [100.0, 100.0]]])
    assert pooling.mean(tokens, torch.tensor([[True, True, False]])).tolist() == [[2.0, 4.0]]


def test_unit_length_leaves_zero_alone() -> None:
    rows = pooling.unit_length(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    torch.testing.assert_close(rows, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
