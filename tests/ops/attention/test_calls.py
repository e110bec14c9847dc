"""The public names and what holds for a call of any form."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from fuserec.errors import ConfigError
from fuserec.ops import attention
from fuserec.ops.attention.pattern import Branch, Pattern
from fuserec.testing.attention import BRANCHES, drawn
from fuserec.testing.attention_forms import Form, attended, leaves

PATTERN = Pattern(window=10, block=8, selected=2, group=4)


def test_the_public_names_are_calls_and_stay_so() -> None:
    """A submodule of the same name would take the place of a function when it is imported."""
    x = torch.ones(1, 1, 4, 2)
    for _ in range(2):
        assert attention.windowed(x, x, x, window=2).shape == x.shape
        assert attention.blockwise(x, x, x, block=2).shape == x.shape
        assert attention.selective(x, x, x, block=2, selected=1, group=1).shape == x.shape
    assert [name for name in attention.__all__ if not callable(getattr(attention, name))] == []


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'windows'"):
        attention.windows  # noqa: B018


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("constant", [False, True], ids=["a function above", "a constant above"])
def test_a_second_derivative_is_right_or_refused(form: Form, branch: Branch, constant: bool) -> None:
    """Never taken for zero in silence: a gradient penalty would then do nothing."""
    inputs = leaves(drawn(3, PATTERN, (2, 2, 40, 8), dtype=form.dtype), form.dtype)
    out = attended(branch, inputs, PATTERN, form)
    total = out.sum() if constant else out.square().sum()
    if form.name == "reference":
        (first,) = torch.autograd.grad(total, inputs["v"], create_graph=True)
        assert first.requires_grad
        return

    def penalty() -> None:
        (first,) = torch.autograd.grad(total, inputs["v"], create_graph=True)
        torch.autograd.grad(first.square().sum(), inputs["q"])

    with pytest.raises((ConfigError, RuntimeError), match=r"second derivative|autograd formula"):
        penalty()


def test_lengths_may_lie_elsewhere(form: Form) -> None:
    """As a batch's lengths do that were never moved to the accelerator."""
    inputs = drawn(3, PATTERN, (2, 2, 40, 8), dtype=form.dtype)
    as_list = attended("windowed", inputs, PATTERN, form, lengths=torch.tensor([40, 7], dtype=torch.int32))
    assert torch.equal(as_list, attended("windowed", inputs, PATTERN, form, lengths=torch.tensor([40, 7])))


def test_a_branch_keeps_no_more_than_it_needs(form: Form) -> None:
    """The windowed branch alone has no use for summaries of blocks of one, as large as keys and values."""
    if form.name != "blocked":
        pytest.skip("what autograd keeps of the other forms is not theirs to decide")
    inputs = leaves(drawn(3, PATTERN, (2, 2, 40, 8), dtype=form.dtype), form.dtype)
    kept: list[int] = []

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        attended("windowed", inputs, dataclasses.replace(PATTERN, block=1, group=1, selected=0), form)
    assert (
        sum(size == inputs["k"].numel() for size in kept) == 4
    )  # q twice (it is the query of blocks too), k, v
