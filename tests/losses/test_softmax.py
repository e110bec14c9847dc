from __future__ import annotations

import math
import sys
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuserec.losses import softmax, softmax_reference

MODULE = sys.modules["fuserec.losses.softmax"]  # the package has a function of that name
Loss = Callable[..., Tensor]


def drawn(
    count: int, items: int, dim: int = 4, *, seed: int = 0, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    query, item = (torch.randn(n, dim, generator=generator, dtype=dtype) for n in (count, items))
    return query, item, torch.randint(items, (count,), generator=generator)


def value_and_gradients(loss: Loss, query: Tensor, item: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    leaves = [query.detach().clone().requires_grad_(), item.detach().clone().requires_grad_()]
    value = loss(*leaves, target)
    return value.detach(), *torch.autograd.grad(value * 1.7, leaves)


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> int:
    """So few rows at a time that small inputs take several."""
    monkeypatch.setattr(MODULE, "rows_at_a_time", lambda columns: 5)
    return 5


def test_one_prediction_by_hand() -> None:
    query, item = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    expected = math.log(math.exp(1) + math.exp(2) + 1) - 2
    assert softmax(query, item, torch.tensor([1])).item() == pytest.approx(expected, rel=1e-6)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**16), st.integers(0, 12), st.integers(1, 40), st.integers(1, 5))
def test_the_fast_form_is_the_literal_one(seed: int, count: int, items: int, dim: int) -> None:
    inputs = drawn(count, items, dim, seed=seed)
    torch.testing.assert_close(
        value_and_gradients(softmax, *inputs), value_and_gradients(softmax_reference, *inputs)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 4, 5, 6, 10, 13])
def test_rows_at_a_time_give_what_all_at_once_give(count: int, dtype: torch.dtype, few_rows: int) -> None:
    inputs = drawn(count, 17, dtype=dtype)
    found = value_and_gradients(softmax, *inputs)
    assert {one.dtype for one in found} == {dtype}
    torch.testing.assert_close(found, value_and_gradients(softmax_reference, *inputs))


def test_more_predictions_than_one_buffer_holds_are_the_literal_ones_too() -> None:
    inputs = drawn(500, 12_000, 3, dtype=torch.float32)
    assert MODULE.rows_at_a_time(12_000) < 500
    torch.testing.assert_close(
        value_and_gradients(softmax, *inputs), value_and_gradients(softmax_reference, *inputs)
    )


def test_large_logits_overflow_nowhere_in_float32() -> None:
    query, item, target = drawn(7, 5)
    inputs = (1e3 * query).float(), (1e2 * item).float(), target
    expected = value_and_gradients(softmax_reference, inputs[0].double(), inputs[1].double(), target)
    for found, exact in zip(value_and_gradients(softmax, *inputs), expected, strict=True):
        torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4 * float(exact.abs().max()))


def test_a_single_item_is_certain() -> None:
    value, of_query, of_item = value_and_gradients(softmax, *drawn(6, 1))
    assert value.item() == 0.0
    assert not of_query.any()
    assert not of_item.any()


@pytest.mark.parametrize("spread", [lambda x: x.T.contiguous().T, lambda x: x.repeat(1, 2)[:, ::2]])
def test_how_the_inputs_lie_in_memory_does_not_matter(
    spread: Callable[[Tensor], Tensor], few_rows: int
) -> None:
    query, item, target = drawn(9, 6)
    a, b = spread(query), spread(item)
    assert not a.is_contiguous()
    straight = a.contiguous().requires_grad_(), b.contiguous().requires_grad_()
    expected = torch.autograd.grad(softmax(straight[0], straight[1], target), straight)
    leaves = a.requires_grad_(), b.requires_grad_()
    torch.testing.assert_close(torch.autograd.grad(softmax(a, b, target), leaves), expected)


def test_one_vector_for_all_predictions_gets_the_sum_of_their_gradients() -> None:
    query, item, target = drawn(1, 6)
    query.requires_grad_()
    target = torch.tensor([0, 3, 3])
    (found,) = torch.autograd.grad(softmax(query.expand(3, -1), item, target), query)
    (expected,) = torch.autograd.grad(softmax_reference(query.expand(3, -1), item, target), query)
    torch.testing.assert_close(found, expected)


def test_the_gradient_is_exact(few_rows: int) -> None:
    query, item, target = drawn(7, 6, 3)
    assert torch.autograd.gradcheck(
        lambda q, i: softmax(q, i, target), (query.requires_grad_(), item.requires_grad_())
    )


def test_either_side_may_be_constant() -> None:
    query, item, target = drawn(5, 6)
    _, of_query, of_item = value_and_gradients(softmax, query, item, target)
    leaf = query.clone().requires_grad_()
    torch.testing.assert_close(torch.autograd.grad(1.7 * softmax(leaf, item, target), leaf)[0], of_query)
    leaf = item.clone().requires_grad_()
    torch.testing.assert_close(torch.autograd.grad(1.7 * softmax(query, leaf, target), leaf)[0], of_item)


@pytest.mark.parametrize("recording", [True, False])
def test_where_nothing_needs_a_gradient_none_is_computed(
    recording: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, item, target = drawn(5, 6)
    expected = softmax_reference(query, item, target)
    monkeypatch.setattr(Tensor, "addmm_", None)  # a gradient of the items cannot do without
    with torch.set_grad_enabled(recording):
        loss = softmax(query.requires_grad_(not recording), item.requires_grad_(not recording), target)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, expected)


def test_no_prediction_is_no_loss_and_still_backpropagates() -> None:
    query, item = torch.zeros(0, 3, requires_grad=True), torch.ones(4, 3, requires_grad=True)
    loss = softmax(query, item, torch.zeros(0, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0.0
    assert query.grad is not None
    assert item.grad is not None
    assert not item.grad.any()


@pytest.mark.parametrize("side", [0, 1])
def test_what_is_no_number_stays_none(side: int) -> None:
    query, item, target = drawn(5, 6)
    (query, item)[side][2, 1] = torch.nan
    for loss in (softmax, softmax_reference):
        value, of_query, of_item = value_and_gradients(loss, query, item, target)
        assert bool(value.isnan())
        assert bool(of_query[2].isnan().all())
        assert bool(of_item.isnan().any())


@pytest.mark.parametrize("target", [-1, 6, 100])
def test_a_target_that_is_no_item_is_refused(target: int) -> None:
    query, item, _ = drawn(2, 6)
    with pytest.raises(ValueError, match=rf"expected targets in 0 \.\. 5, got {target}"):
        softmax(query, item, torch.tensor([0, target]))


def test_order_of_predictions_and_items_does_not_matter(few_rows: int) -> None:
    query, item, target = drawn(11, 7)
    generator = torch.Generator().manual_seed(3)
    lines, places = torch.randperm(11, generator=generator), torch.randperm(7, generator=generator)
    value, of_query, of_item = value_and_gradients(softmax, query, item, target)
    found = value_and_gradients(softmax, query[lines], item[places], places.argsort()[target[lines]])
    torch.testing.assert_close(found, (value, of_query[lines], of_item[places]))


def test_the_inputs_are_left_alone_and_every_backward_pass_gives_the_same() -> None:
    query, item, target = drawn(5, 6)
    before = query.clone(), item.clone(), target.clone()
    leaves = query.requires_grad_(), item.requires_grad_()
    loss = softmax(query, item, target)
    first, second = (torch.autograd.grad(loss, leaves, retain_graph=True) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    for now, then in zip((query, item, target), before, strict=True):
        assert torch.equal(now, then)


def test_it_learns_what_follows() -> None:
    query, item, target = drawn(8, 8)
    optimiser = torch.optim.Adam([query.requires_grad_(), item.requires_grad_()], lr=0.3)
    for _ in range(30):
        optimiser.zero_grad()
        softmax(query, item, target).backward()
        optimiser.step()
    assert softmax(query, item, target).item() < 0.05
