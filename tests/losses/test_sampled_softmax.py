from __future__ import annotations

import math
import sys
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuserec.losses import sampled_softmax, sampled_softmax_reference, softmax

MODULE = sys.modules["fuserec.losses.sampled_softmax"]  # the package has a function of that name
ITEMS = 9
Inputs = tuple[list[Tensor], dict[str, Any]]


def drawn(
    count: int, size: int, *, seed: int = 0, dtype: torch.dtype = torch.float64, both: bool = False
) -> Inputs:
    """Query, positive, negative and the rest; so few items that a target is often a negative."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    rest = {
        "target": torch.randint(ITEMS, (count,), generator=generator),
        "negatives": torch.randint(ITEMS, (size,), generator=generator),
        "log_expected": normal(size),
        "log_expected_positive": normal(count) if both else None,
    }
    return [normal(count, 3), normal(count, 3), normal(size, 3)], rest


def value_and_gradients(loss: Any, vectors: list[Tensor], rest: dict[str, Any]) -> tuple[Tensor, ...]:
    leaves = [one.detach().clone().requires_grad_() for one in vectors]
    value = loss(*leaves, **rest)
    return value.detach(), *torch.autograd.grad(value * 1.7, leaves)


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few rows at a time that small inputs take several."""
    monkeypatch.setattr(MODULE, "rows_at_a_time", lambda columns: 5)


def test_one_prediction_by_hand() -> None:
    # the logits are 2, and 3 - log 2 and -1 - log 5 of negatives expected twice and five times
    loss = sampled_softmax(
        torch.tensor([[1.0]]),
        torch.tensor([[2.0]]),
        torch.tensor([[3.0], [-1.0]]),
        target=torch.tensor([4]),
        negatives=torch.tensor([0, 1]),
        log_expected=torch.tensor([2.0, 5.0]).log(),
    )
    expected = math.log(math.exp(2) + math.exp(3) / 2 + math.exp(-1) / 5) - 2
    assert loss.item() == pytest.approx(expected, rel=1e-6)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**16), st.integers(0, 12), st.integers(0, 30), st.booleans())
def test_the_fast_form_is_the_literal_one(seed: int, count: int, size: int, both: bool) -> None:
    inputs = drawn(count, size, seed=seed, both=both)
    torch.testing.assert_close(
        value_and_gradients(sampled_softmax, *inputs), value_and_gradients(sampled_softmax_reference, *inputs)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 5, 6, 10, 13])
def test_rows_at_a_time_give_what_all_at_once_give(count: int, dtype: torch.dtype, few_rows: None) -> None:
    inputs = drawn(count, 17, dtype=dtype, both=True)
    found = value_and_gradients(sampled_softmax, *inputs)
    assert {one.dtype for one in found} == {dtype}
    torch.testing.assert_close(found, value_and_gradients(sampled_softmax_reference, *inputs))


def test_large_logits_overflow_nowhere_in_float32() -> None:
    (query, positive, negative), rest = drawn(7, 5, both=True)
    vectors = [(1e3 * query).float(), (1e2 * positive).float(), (1e2 * negative).float()]
    single = {name: one.float() if one.is_floating_point() else one for name, one in rest.items()}
    exact = value_and_gradients(sampled_softmax_reference, [one.double() for one in vectors], rest)
    for found, expected in zip(value_and_gradients(sampled_softmax, vectors, single), exact, strict=True):
        scale = float(expected.abs().max())
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4 * scale)


@pytest.mark.parametrize("both", [False, True])
def test_the_gradient_is_exact(both: bool, few_rows: None) -> None:
    vectors, rest = drawn(7, 6, both=both)
    leaves = [one.requires_grad_() for one in vectors]
    assert torch.autograd.gradcheck(lambda *three: sampled_softmax(*three, **rest), leaves)


def test_how_the_inputs_lie_in_memory_does_not_matter(few_rows: None) -> None:
    vectors, rest = drawn(8, 6)
    spread = [one.T.contiguous().T for one in vectors]
    assert not spread[0].is_contiguous()
    leaves = [one.requires_grad_() for one in spread]
    found = torch.autograd.grad(1.7 * sampled_softmax(*leaves, **rest), leaves)
    torch.testing.assert_close(found, value_and_gradients(sampled_softmax, vectors, rest)[1:])


@pytest.mark.parametrize("wanted", range(3))
def test_any_of_the_three_may_be_the_only_one_to_learn(wanted: int) -> None:
    vectors, rest = drawn(6, 7)
    expected = value_and_gradients(sampled_softmax, vectors, rest)[1 + wanted]
    vectors[wanted] = vectors[wanted].clone().requires_grad_()
    (found,) = torch.autograd.grad(1.7 * sampled_softmax(*vectors, **rest), vectors[wanted])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("recording", [True, False])
def test_where_nothing_needs_a_gradient_none_is_computed(
    recording: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, rest = drawn(5, 6)
    expected = sampled_softmax_reference(*vectors, **rest)
    for name in ("addmm_", "addcmul_"):
        monkeypatch.setattr(Tensor, name, None)
    with torch.set_grad_enabled(recording):
        loss = sampled_softmax(*(one.requires_grad_(not recording) for one in vectors), **rest)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, expected)


def test_a_negative_that_is_the_target_is_left_out_for_that_prediction_alone() -> None:
    vectors, rest = drawn(2, 3)
    rest |= {"target": torch.tensor([4, 0]), "negatives": torch.tensor([4, 7, 4])}
    query, positive, negative = vectors
    # without the hits, the first prediction has one negative and the second has three
    first = sampled_softmax(
        query[:1],
        positive[:1],
        negative[1:2],
        target=rest["target"][:1],
        negatives=rest["negatives"][1:2],
        log_expected=rest["log_expected"][1:2],
    )
    other = rest | {"target": torch.tensor([5])}
    second = sampled_softmax(query[1:], positive[1:], negative, **other)
    torch.testing.assert_close(sampled_softmax(*vectors, **rest), (first + second) / 2)


def test_where_all_negatives_are_the_target_nothing_is_lost() -> None:
    vectors, rest = drawn(4, 3)
    rest |= {"target": torch.full((4,), 2), "negatives": torch.full((3,), 2)}
    for one in value_and_gradients(sampled_softmax, vectors, rest):
        assert not one.any()


def test_no_prediction_is_no_loss_and_still_backpropagates() -> None:
    vectors, rest = drawn(0, 4)
    leaves = [one.requires_grad_() for one in vectors]
    loss = sampled_softmax(*leaves, **rest)
    loss.backward()
    assert loss.item() == 0.0
    assert all(leaf.grad is not None and not leaf.grad.any() for leaf in leaves)


@pytest.mark.parametrize("side", range(3))
def test_what_is_no_number_stays_none(side: int) -> None:
    vectors, rest = drawn(5, 6)
    rest["target"] = torch.full((5,), ITEMS)  # no hits, which would leave it out
    vectors[side][2, 1] = torch.nan
    for loss in (sampled_softmax, sampled_softmax_reference):
        found = value_and_gradients(loss, vectors, rest)
        assert all(bool(one.isnan().any()) for one in found)


def test_the_inputs_are_left_alone_and_every_backward_pass_gives_the_same() -> None:
    vectors, rest = drawn(5, 6, both=True)
    given_tensors = [*vectors, *rest.values()]
    before = [one.clone() for one in given_tensors]
    leaves = [one.requires_grad_() for one in vectors]
    loss = sampled_softmax(*leaves, **rest)
    first, second = (torch.autograd.grad(loss, leaves, retain_graph=True) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    for now, then in zip(given_tensors, before, strict=True):
        assert torch.equal(now, then)


class Sampled:
    """A catalogue of which negatives are drawn, and how far the loss is from the softmax over all of it."""

    COUNT = 12

    def __init__(self, shares: Tensor) -> None:
        generator = torch.Generator().manual_seed(1)
        self.shares = shares / shares.sum()
        self.query = torch.randn(self.COUNT, 3, generator=generator, dtype=torch.float64)
        self.item = torch.randn(len(shares), 3, generator=generator, dtype=torch.float64)
        self.target = torch.multinomial(self.shares, self.COUNT, replacement=True, generator=generator)
        self.exact = self._of(lambda query, item: softmax(query, item, self.target))

    def _of(self, loss: Any) -> Tensor:
        leaves = [self.query.clone().requires_grad_(), self.item.clone().requires_grad_()]
        return torch.cat([one.flatten() for one in torch.autograd.grad(loss(*leaves), leaves)])

    def error(self, size: int, draws: int, *, correct: bool = True) -> float:
        """Length of the error of the mean gradient over so many draws, as a share of the exact one's."""
        generator = torch.Generator().manual_seed(size)
        mean = torch.zeros_like(self.exact)
        for _ in range(draws):
            drawn = torch.multinomial(self.shares, size, replacement=True, generator=generator)
            told = size * self.shares[drawn] if correct else torch.ones(size, dtype=torch.float64)
            rest = {"target": self.target, "negatives": drawn, "log_expected": told.log()}
            mean += self._of(
                lambda query, item, rest=rest: sampled_softmax(
                    query, item[rest["target"]], item[rest["negatives"]], **rest
                )
            )
        return float((mean / draws - self.exact).norm() / self.exact.norm())


@pytest.mark.parametrize("popular", [False, True])
def test_the_expected_gradient_approaches_that_of_the_whole_softmax(popular: bool) -> None:
    rank = torch.arange(1, 41, dtype=torch.float64)
    sampled = Sampled(1.0 / rank if popular else torch.ones_like(rank))
    # the bias falls as 1 / N; so many draws make the noise smaller than it
    assert sampled.error(4, 120) > 3 * sampled.error(64, 40)
    assert sampled.error(20_000, 1) < 0.03


def test_without_the_correction_it_approaches_something_else() -> None:
    sampled = Sampled(1.0 / torch.arange(1, 41, dtype=torch.float64))
    assert sampled.error(20_000, 1, correct=False) > 0.2


def test_negatives_of_the_batch_approach_it_too() -> None:
    sampled = Sampled(1.0 / torch.arange(1, 21, dtype=torch.float64))
    generator = torch.Generator().manual_seed(2)
    # one query for all, whose positives are drawn as the negatives of the others are
    target = torch.multinomial(sampled.shares, 4000, replacement=True, generator=generator)
    expected = (4000 * sampled.shares).log()[target]
    query, item = sampled.query[:1], sampled.item
    leaf = query.clone().requires_grad_()
    found = sampled_softmax(
        leaf.expand(len(target), -1),
        item[target],
        item[target],
        target=target,
        negatives=target,
        log_expected=expected,
    )
    exact = softmax(leaf.expand(len(target), -1), item, target)
    assert found.item() == pytest.approx(exact.item(), rel=0.02)
    torch.testing.assert_close(
        torch.autograd.grad(found, leaf)[0], torch.autograd.grad(exact, leaf)[0], rtol=0.05, atol=0.02
    )
