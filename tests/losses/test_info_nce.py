from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuserec.losses import info_nce, info_nce_reference
from fuserec.losses.info_nce import ROWS

seeds = st.integers(0, 2**16)
temperatures = st.sampled_from([0.02, 0.1, 0.5, 3.0])


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def literal(
    a: Tensor, b: Tensor, temperature: float, same_above: float, same: Tensor | None = None
) -> Tensor:
    """Eq. (9), pair by pair, both ways."""
    count = len(a)
    alike = torch.zeros(count, count, dtype=torch.bool) if same is None else same
    cosine = [[a[i] @ b[j] / (a[i].norm() * b[j].norm()) for j in range(count)] for i in range(count)]
    terms = []
    for way, left_out in ((cosine, alike), ([list(column) for column in zip(*cosine, strict=True)], alike.T)):
        for i in range(count):
            kept = [
                way[i][j] for j in range(count) if j == i or (way[i][j] <= same_above and not left_out[i, j])
            ]
            terms.append(
                -torch.log((way[i][i] / temperature).exp() / (torch.stack(kept) / temperature).exp().sum())
            )
    return torch.stack(terms).sum() / (2 * count)


def value_and_gradients(
    function: object, a: Tensor, b: Tensor, **options: float | Tensor
) -> tuple[Tensor, ...]:
    leaves = [a.clone().requires_grad_(), b.clone().requires_grad_()]
    assert callable(function)
    value = function(*leaves, **options)
    return value.detach(), *torch.autograd.grad(value * 1.7, leaves)


def test_two_rows_by_hand() -> None:
    a, b = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[5.0, 0.0], [0.0, 3.0]])
    # cosines 1 on the diagonal, 0 off it, both ways: log(e^(1/t) + 1) - 1/t
    expected = math.log(math.exp(2.0) + 1.0) - 2.0
    assert info_nce(a, b, temperature=0.5).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("count", [1, 2, 7, ROWS + 3])
def test_who_cannot_tell_rows_apart_pays_the_log_of_their_number(count: int) -> None:
    same = torch.ones(count, 3)
    assert info_nce(same, -same, temperature=0.5).item() == pytest.approx(math.log(count), abs=1e-4)


def test_rows_alike_are_no_negatives_of_each_other() -> None:
    same = torch.ones(4, 3)
    # all others are masked, so nothing is left to confuse a row with
    assert info_nce(same, same, temperature=0.5, same_above=0.99).item() == pytest.approx(0.0, abs=1e-6)
    # rows 0 and 1 are alike, row 2 differs: each of 0 and 1 has one negative, row 2 has two, both ways
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    one, two = (math.log(math.exp(2) + negatives) - 2 for negatives in (1, 2))
    expected = (2 * one + two) / 3
    assert info_nce(a, a, temperature=0.5, same_above=0.99).item() == pytest.approx(expected, rel=1e-5)


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 7), st.integers(1, 4), temperatures, st.sampled_from([-0.5, 0.3, 0.99, 2.0]))
def test_the_fast_form_is_the_literal_one_in_value_and_gradient(
    seed: int, count: int, dim: int, temperature: float, same_above: float
) -> None:
    a, b = drawn(seed, count, dim), drawn(seed + 1, count, dim)
    options = {"temperature": temperature, "same_above": same_above}
    fast = value_and_gradients(info_nce, a, b, **options)
    by_pairs = value_and_gradients(lambda x, y, **o: literal(x, y, *o.values()), a, b, **options)
    torch.testing.assert_close(fast, by_pairs, rtol=1e-6, atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 7), temperatures, st.sampled_from([0.3, 2.0]))
def test_pairs_named_the_same_are_no_negatives_either_way(
    seed: int, count: int, temperature: float, same_above: float
) -> None:
    a, b = drawn(seed, count, 3), drawn(seed + 1, count, 3)
    same = drawn(seed + 2, count, count) > 0.5
    options: dict[str, Any] = {"temperature": temperature, "same_above": same_above, "same": same}
    by_pairs = value_and_gradients(lambda x, y: literal(x, y, temperature, same_above, same), a, b)
    torch.testing.assert_close(value_and_gradients(info_nce, a, b, **options), by_pairs, rtol=1e-6, atol=1e-9)


def test_blocks_of_rows_leave_out_the_pairs_named_the_same() -> None:
    a, b = drawn(0, ROWS + 9, 4), drawn(1, ROWS + 9, 4)
    same = drawn(2, ROWS + 9, ROWS + 9) > 1.0
    before = same.clone()
    options: dict[str, Any] = {"temperature": 0.2, "same": same}
    torch.testing.assert_close(
        value_and_gradients(info_nce, a, b, **options),
        value_and_gradients(info_nce_reference, a, b, **options),
    )
    assert torch.equal(same, before)


@pytest.mark.parametrize("count", [ROWS - 1, ROWS, 2 * ROWS + 5])
@pytest.mark.parametrize("same_above", [0.5, 2.0])
def test_blocks_of_rows_give_what_the_reference_gives(count: int, same_above: float) -> None:
    a, b = drawn(0, count, 4), drawn(1, count, 4)
    b[::5] = a[::5]  # so that the mask also meets the diagonal of every block
    options = {"temperature": 0.2, "same_above": same_above}
    torch.testing.assert_close(
        value_and_gradients(info_nce, a, b, **options),
        value_and_gradients(info_nce_reference, a, b, **options),
    )


@pytest.mark.parametrize("temperature", [1e-4, 0.01, 1 / 61, 1 / 59, 100.0])
def test_no_temperature_overflows_in_float32(temperature: float) -> None:
    a = torch.tensor([[1.0, 0.0], [-1.0, 0.1], [0.3, 1.0]])
    for b in (a, -a, a.flip(0)):
        exact = value_and_gradients(info_nce_reference, a.double(), b.double(), temperature=temperature)
        for found, expected in zip(
            value_and_gradients(info_nce, a, b, temperature=temperature), exact, strict=True
        ):
            assert bool(found.isfinite().all())
            scale = float(expected.abs().max())
            torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4 * scale + 1e-6)


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 8), temperatures, st.sampled_from([0.5, 0.99, 2.0]))
def test_it_lies_between_nothing_and_the_worst_confusion(
    seed: int, count: int, temperature: float, same_above: float
) -> None:
    value = info_nce(
        drawn(seed, count, 3), drawn(seed + 1, count, 3), temperature=temperature, same_above=same_above
    ).item()
    assert -1e-9 <= value <= math.log(count) + 2 / temperature + 1e-9


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 8), st.floats(0.01, 100))
def test_order_side_and_length_of_rows_do_not_matter(seed: int, count: int, length: float) -> None:
    a, b = drawn(seed, count, 3), drawn(seed + 1, count, 3)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    value = info_nce(a, b, temperature=0.3, same_above=0.9)
    torch.testing.assert_close(info_nce(a[order], b[order], temperature=0.3, same_above=0.9), value)
    torch.testing.assert_close(info_nce(b, a, temperature=0.3, same_above=0.9), value)
    torch.testing.assert_close(info_nce(length * a, b, temperature=0.3, same_above=0.9), value)


@pytest.mark.parametrize("temperature", [0.005, 0.2, 2.0])
def test_the_gradient_is_exact(temperature: float) -> None:
    leaves = [drawn(0, 5, 3).requires_grad_(), drawn(1, 5, 3).requires_grad_()]
    assert torch.autograd.gradcheck(
        lambda a, b: info_nce(a, b, temperature=temperature, same_above=0.6), leaves, atol=1e-4
    )


def test_one_side_may_be_constant_and_both_may() -> None:
    a, b = drawn(0, 5, 3), drawn(1, 5, 3)
    _, of_a, of_b = value_and_gradients(info_nce, a, b, temperature=0.5)
    for leaf, other, expected in ((a, b, of_a), (b, a, of_b)):
        leaf = leaf.clone().requires_grad_()
        (found,) = torch.autograd.grad(1.7 * info_nce(leaf, other, temperature=0.5), leaf)
        torch.testing.assert_close(found, expected)
    assert not info_nce(a, b, temperature=0.5).requires_grad


def test_no_row_is_no_loss_and_still_backpropagates() -> None:
    a = torch.zeros(0, 3, requires_grad=True)
    loss = info_nce(a, torch.zeros(0, 3), temperature=0.5)
    loss.backward()
    assert loss.item() == 0.0
    assert a.grad is not None


def test_a_zero_row_has_no_direction_and_so_no_gradient() -> None:
    a, b = drawn(0, 4, 3), drawn(1, 4, 3)
    a[2] = 0.0
    for function in (info_nce, info_nce_reference):
        value, of_a, of_b = value_and_gradients(function, a, b, temperature=0.5)
        assert bool(value.isfinite())
        assert not of_a[2].any()
        assert float(torch.cat([of_a, of_b]).abs().max()) < 10


def test_the_inputs_are_left_alone() -> None:
    a, b = drawn(0, 5, 3).requires_grad_(), drawn(1, 5, 3)
    before = a.detach().clone(), b.clone()
    info_nce(a, b, temperature=0.5).backward()
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])
