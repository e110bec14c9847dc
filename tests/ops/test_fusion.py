from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuserec.ops.fusion import (
    attend,
    attend_reference,
    choice_weights,
    unit_or_zero,
    unit_or_zero_reference,
)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@st.composite
def choices(draw: st.DrawFn, max_rows: int = 6) -> Tensor:
    """(B, M) what each row has; rows with nothing included."""
    rows, columns = draw(st.integers(1, max_rows)), draw(st.integers(1, 4))
    cells = draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns))
    return torch.tensor(cells).view(rows, columns)


def test_two_alternatives_by_hand() -> None:
    # softmax of log 3 and 0: 3/4 and 1/4; with the first missing the second takes all
    logits = torch.tensor([[3.0, 1.0]]).log()
    weights = choice_weights(logits.expand(3, 2), torch.tensor([[True, True], [False, True], [False, False]]))
    torch.testing.assert_close(weights, torch.tensor([[0.75, 0.25], [0.0, 1.0], [0.0, 0.0]]))


@settings(deadline=None, max_examples=50)
@given(choices(), st.integers(0, 999), st.sampled_from([1.0, 1e4, 1e30]))
def test_weights_are_none_below_zero_and_sum_to_one_or_to_zero(
    available: Tensor, seed: int, scale: float
) -> None:
    weights = choice_weights(scale * drawn(seed, *available.shape), available)
    assert bool((weights >= 0).all())
    assert not weights[~available].any()
    torch.testing.assert_close(weights.sum(1), available.any(1).double())


@settings(deadline=None, max_examples=50)
@given(choices(), st.integers(0, 999))
def test_what_a_row_lacks_changes_nothing_and_gets_no_gradient(available: Tensor, seed: int) -> None:
    logits = drawn(seed, *available.shape).requires_grad_()
    weights = choice_weights(logits, available)
    other = torch.where(available, logits, 1e6 * drawn(seed + 1, *available.shape))
    assert torch.equal(choice_weights(other, available), weights)
    (gradient,) = torch.autograd.grad((weights * drawn(seed + 2, *available.shape)).sum(), logits)
    assert not gradient[~available].any()
    assert bool(gradient.isfinite().all())


@settings(deadline=None, max_examples=30)
@given(choices(), st.integers(1, 4), st.integers(0, 999))
def test_attention_is_the_literal_one_in_value_and_gradient(available: Tensor, dim: int, seed: int) -> None:
    rows, columns = available.shape
    found = []
    for function in (attend, attend_reference):
        query = drawn(seed, rows, dim).requires_grad_()
        answers = drawn(seed + 1, columns, rows, dim).requires_grad_()
        mixture = function(query, answers, available)
        gradients = torch.autograd.grad((mixture * drawn(seed + 2, rows, dim)).sum(), [query, answers])
        found.append((mixture, *gradients))
    torch.testing.assert_close(*found)


def test_attention_by_hand() -> None:
    # four dimensions, so logits are halved: <q, h> = 2 log 3 and 0 give weights 3/4 and 1/4
    query = torch.tensor([[2.0, 0.0, 0.0, 0.0]]).double()
    one = torch.tensor([[1.0, 0.0, 0.0, 8.0]]).double() * torch.tensor(3.0).double().log()
    other = torch.tensor([[0.0, 4.0, 0.0, 0.0]]).double()
    answers = torch.stack([one, other])
    expected = 0.75 * one + 0.25 * other
    torch.testing.assert_close(attend(query, answers, torch.tensor([[True, True]])), expected)
    torch.testing.assert_close(attend(query, answers, torch.tensor([[False, True]])), other)
    assert not attend(query, answers, torch.tensor([[False, False]])).any()


def test_the_gradient_of_attention_is_exact() -> None:
    available = torch.tensor([[True, True, False], [False, True, False], [False, False, False]])
    leaves = [drawn(0, 3, 2).requires_grad_(), drawn(1, 3, 3, 2).requires_grad_()]
    assert torch.autograd.gradcheck(lambda query, answers: attend(query, answers, available), leaves)


def test_unit_rows_by_hand() -> None:
    rows = unit_or_zero(torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, -2e-9]]))
    torch.testing.assert_close(rows, torch.tensor([[0.6, 0.8], [0.0, 0.0], [0.0, -0.2]]))


def test_the_gradient_of_unit_rows_is_exact() -> None:
    assert torch.autograd.gradcheck(unit_or_zero, [drawn(0, 4, 3).requires_grad_()])


def test_unit_rows_and_their_gradient_equal_the_quotient() -> None:
    x = drawn(0, 6, 3)
    x[2], x[3] = 0.0, x[3] * 1e-9  # no direction, and shorter than what is divided by
    gradient = drawn(1, 6, 3)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    rows, quotient = unit_or_zero(ours), unit_or_zero_reference(theirs)
    torch.testing.assert_close(rows, quotient)
    rows.backward(gradient)
    quotient[[0, 1, 3, 4, 5]].backward(gradient[[0, 1, 3, 4, 5]])
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad[[0, 1, 3, 4, 5]], theirs.grad[[0, 1, 3, 4, 5]])
    assert ours.grad[2].tolist() == [0.0, 0.0, 0.0]


def test_a_zero_row_has_no_direction_and_so_no_gradient() -> None:
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    unit_or_zero(x).sum().backward()
    assert x.grad is not None
    assert x.grad[0].tolist() == [0.0, 0.0]
    assert bool(x.grad[1].any())


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e6])
def test_length_does_not_matter(factor: float) -> None:
    x = drawn(0, 5, 3)
    torch.testing.assert_close(unit_or_zero(factor * x), unit_or_zero(x))
    torch.testing.assert_close(unit_or_zero(x).norm(dim=1), torch.ones(5, dtype=torch.float64))
