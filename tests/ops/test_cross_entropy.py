from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuserec.ops.cross_entropy import LINE, cross_entropy_in_place, rows_at_a_time, whole_lines


def expected(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    losses = F.cross_entropy(leaf, target, reduction="none")
    (gradient,) = torch.autograd.grad(losses.sum(), leaf)
    return losses.detach(), gradient


def test_two_columns_by_hand() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])
    losses = cross_entropy_in_place(logits, torch.tensor([1, 0]))
    torch.testing.assert_close(losses, torch.tensor([math.log(4.0), math.log(2.0)]))
    torch.testing.assert_close(logits, torch.tensor([[0.75, -0.75], [-0.5, 0.5]]))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**16), st.integers(0, 9), st.integers(1, 20), st.sampled_from([0.1, 3.0, 1e3, 1e6]))
def test_values_and_gradients_are_those_of_torch(seed: int, rows: int, columns: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    target = torch.randint(columns, (rows,), generator=generator)
    values = expected(logits, target)
    torch.testing.assert_close((cross_entropy_in_place(logits, target), logits), values)


def test_logits_far_apart_overflow_nowhere_in_float32() -> None:
    logits = torch.tensor([[3e38, -3e38, 0.0], [-3e38, -3e38, -3e38], [200.0, 0.0, 100.0]])
    target = torch.tensor([0, 1, 1])
    losses = cross_entropy_in_place(logits, target)
    torch.testing.assert_close(losses, torch.tensor([0.0, math.log(3.0), 200.0]))
    assert bool(logits.isfinite().all())


def test_a_column_of_minus_infinity_takes_no_part() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.5]])
    wider = torch.tensor([[1.0, -torch.inf, 2.0, 0.5, -torch.inf]])
    losses = cross_entropy_in_place(logits, torch.tensor([1]))
    torch.testing.assert_close(cross_entropy_in_place(wider, torch.tensor([2])), losses)
    torch.testing.assert_close(wider[:, [0, 2, 3]], logits)
    assert wider[0, [1, 4]].tolist() == [0.0, 0.0]


def test_what_is_no_number_stays_none_in_its_row() -> None:
    logits = torch.zeros(2, 3)
    logits[0, 2] = torch.nan
    losses = cross_entropy_in_place(logits, torch.tensor([0, 0]))
    assert losses.isnan().tolist() == [True, False]
    assert logits.isnan().all(1).tolist() == [True, False]


@pytest.mark.parametrize("target", [-1, 3])
def test_a_target_beyond_the_columns_is_refused(target: int) -> None:
    with pytest.raises(RuntimeError, match="out of bounds"):
        cross_entropy_in_place(torch.zeros(1, 3), torch.tensor([target]))


@pytest.mark.parametrize("columns", [0, 1, 256, 3_416, 100_000, 10**7])
def test_a_buffer_has_a_few_hundred_rows_or_is_small(columns: int) -> None:
    rows = rows_at_a_time(columns)
    assert rows >= 192
    assert rows == 192 or rows * max(columns, 1) * 4 <= 8 * 2**20


@pytest.mark.parametrize(("columns", "whole"), [(0, 0), (1, LINE), (LINE, LINE), (LINE + 1, 2 * LINE)])
def test_columns_are_rounded_up_to_whole_lines(columns: int, whole: int) -> None:
    assert whole_lines(columns) == whole
