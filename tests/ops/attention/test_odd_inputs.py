"""Inputs that lie oddly in memory, say little, or are too large: each form takes them alike."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from fuserec.errors import ConfigError
from fuserec.ops.attention import dispatch, multi_granularity, selective, windowed
from fuserec.ops.attention.pattern import Pattern
from fuserec.ops.attention.summaries import Summaries
from fuserec.testing.attention import Inputs, by_reference, drawn, gradients
from fuserec.testing.attention_forms import (
    Form,
    assert_equals_reference,
    assert_near,
    attended,
    leaves,
    packed,
)

PATTERN = Pattern(window=10, block=8, selected=2, group=4)


def columns_first(x: Tensor) -> Tensor:
    """The same numbers, neighbours in memory being rows, not columns."""
    return x.mT.contiguous().mT


@pytest.mark.parametrize("names", [("q",), ("k",), ("v",), ("q", "k", "v"), ("block_query", "block_key")])
def test_rows_may_be_scattered_in_memory(form: Form, names: tuple[str, ...]) -> None:
    inputs = drawn(0, PATTERN, (2, 2, 37, 24), dtype=form.dtype, summaries=True)
    odd = inputs | {name: columns_first(inputs[name]) for name in names}
    assert all(odd[name].stride(-1) != 1 for name in names)
    assert_equals_reference("multi_granularity", odd, PATTERN, form)


def test_rows_may_overlap(form: Form) -> None:
    inputs: Inputs = drawn(1, PATTERN, (2, 3, 6, 24), dtype=form.dtype)
    overlapping = torch.randn(2, 3, 29, dtype=form.dtype).unfold(2, 24, 1)
    ours = inputs | {name: overlapping.detach().requires_grad_() for name in ("q", "k")}
    exact = {name: x.detach().double().contiguous().requires_grad_() for name, x in ours.items()}
    found, expected = (
        attended("multi_granularity", ours, PATTERN, form),
        by_reference("multi_granularity", exact, PATTERN),
    )
    assert_near(found, expected, "values")
    theirs = gradients(expected, exact)
    for name in ("q", "k"):
        assert_near(torch.autograd.grad(weighed(found), ours[name], retain_graph=True)[0], theirs[name], name)


def weighed(out: Tensor) -> Tensor:
    """What `gradients` takes gradients of."""
    generator = torch.Generator().manual_seed(0)
    return (out * torch.randn(out.shape, generator=generator, dtype=torch.float32).to(out.dtype)).sum()


@pytest.mark.parametrize(
    ("L", "lengths"), [(16, None), (37, None), (40, None), (37, (37, 9)), (40, (16, 8)), (16, (16, 0))]
)
def test_the_summary_of_the_last_block_may_be_anything(
    form: Form, L: int, lengths: tuple[int, int] | None
) -> None:
    """Nobody sees it, so who does not know it yet need not make one up."""
    inputs = drawn(2, PATTERN, (2, 2, L, 16), dtype=form.dtype, summaries=True)
    unknown = dict(inputs)
    for name in ("block_key", "block_value"):
        unknown[name] = inputs[name].clone()
        for b, length in enumerate(lengths or (L, L)):
            unknown[name][b, :, max(-(-length // PATTERN.block) - 1, 0) :] = float("nan")
    given = None if lengths is None else torch.tensor(lengths)
    known, blank = leaves(inputs, form.dtype), leaves(unknown, form.dtype)
    expected = attended("multi_granularity", known, PATTERN, form, lengths=given)
    found = attended("multi_granularity", blank, PATTERN, form, lengths=given)
    torch.testing.assert_close(found, expected)
    theirs = gradients(expected, known)
    for name, gradient in gradients(found, blank).items():
        torch.testing.assert_close(gradient, theirs[name])


def test_the_summary_of_a_packed_history_s_last_block_may_be_anything(form: Form) -> None:
    inputs = drawn(6, PATTERN, (3, 2, 40, 16), dtype=form.dtype, summaries=True)
    lengths = (33, 16, 36)  # near enough to be padded to one length
    known, offsets = packed(inputs, lengths, PATTERN.block)
    ends = torch.tensor([-(-length // PATTERN.block) for length in lengths]).cumsum(0) - 1
    unknown = known | {
        name: known[name].detach().index_fill(0, ends, float("nan")) for name in ("block_key", "block_value")
    }
    known, unknown = leaves(known, form.dtype), leaves(unknown, form.dtype)
    expected = attended("multi_granularity", known, PATTERN, form, offsets=offsets)
    found = attended("multi_granularity", unknown, PATTERN, form, offsets=offsets)
    torch.testing.assert_close(found, expected)
    theirs = gradients(expected, known)
    for name, gradient in gradients(found, unknown).items():
        torch.testing.assert_close(gradient, theirs[name])


def test_far_off_blocks_are_told_apart_down_to_the_smallest_share(form: Form) -> None:
    """Shares of e^-90 and less are no ties."""
    zeros = torch.zeros(1, 1, 40, 1, dtype=form.dtype)
    v = torch.arange(40, dtype=form.dtype).view_as(zeros)
    key = torch.tensor([-95.0, -90.0, -92.0, 0.0, 0.0], dtype=form.dtype).view(1, 1, 5, 1)
    out = selective(
        zeros,
        zeros,
        v,
        block=8,
        selected=2,
        group=8,
        block_query=zeros + 1,
        block_key=key,
        implementation=form.name,
    )
    # the fourth block first, then of the far ones the second: the means are those of 24..31, 8..15, 32..39
    assert out[0, 0, -1, 0].item() == pytest.approx((27.5 + 11.5 + 35.5) / 3)


def test_autocast_makes_no_other_function_of_it(form: Form) -> None:
    inputs = leaves(drawn(3, PATTERN, (2, 2, 37, 16), dtype=form.dtype, summaries=True), form.dtype)
    expected = attended("multi_granularity", inputs, PATTERN, form)
    exact = gradients(expected, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attended("multi_granularity", inputs, PATTERN, form)
        assert torch.equal(found, expected)
        if form.name != "reference":  # its backward is torch's own, and follows torch's rules
            for name, gradient in gradients(found, inputs).items():
                assert torch.equal(gradient, exact[name]), name


@pytest.mark.parametrize("L", [32, 37])
def test_the_output_may_be_changed_in_place(form: Form, L: int) -> None:
    inputs = leaves(drawn(4, PATTERN, (2, 2, L, 16), dtype=form.dtype), form.dtype)
    out = attended("multi_granularity", inputs, PATTERN, form)
    expected = out.detach() + 1
    out += 1
    assert torch.equal(out, expected)
    out.sum().backward()
    assert inputs["v"].grad is not None


@pytest.mark.parametrize("packed", [False, True])
def test_numbers_far_beyond_the_history_cost_nothing(form: Form, packed: bool) -> None:
    inputs = drawn(5, PATTERN, (2, 2, 20, 16), dtype=form.dtype)
    q, k, v, gates = (inputs[name] for name in ("q", "k", "v", "gates"))
    options: dict[str, Any] = {"implementation": form.name}
    if packed:
        q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (q, k, v))
        gates = gates.flatten(0, 1)
        options["offsets"] = torch.tensor([0, 20, 40])
    huge = 10**30
    found = multi_granularity(q, k, v, gates, window=huge, block=huge, selected=huge, group=huge, **options)
    expected = multi_granularity(q, k, v, gates, window=20, block=20, selected=0, group=20, **options)
    assert torch.equal(found, expected)
    assert torch.equal(windowed(q, k, v, window=huge, **options), windowed(q, k, v, window=20, **options))


def test_a_pattern_is_bounded_by_the_longest_history() -> None:
    pattern = Pattern(window=100, block=8, selected=9, group=4)
    assert pattern.within(40) == dataclasses.replace(pattern, window=40, selected=5)
    assert pattern.within(5) == Pattern(window=5, block=5, selected=0, group=5)
    assert pattern.within(0) == Pattern(window=1, block=1, selected=0, group=1)


def test_gates_are_not_left_out_in_silence(form: Form) -> None:
    """Asked of what the public call calls: its own types would refuse it first under the hook that checks shapes."""
    q = torch.zeros(1, 1, 4, 2, dtype=form.dtype)
    with pytest.raises(ConfigError, match="expected gates, got None; each branch has a call of its own"):
        dispatch._call("multi_granularity", (q, q, q, None), PATTERN, Summaries(), None, None, form.name)


@pytest.mark.parametrize(
    "offsets", [torch.tensor([0, 2**31 - 1, -2, 7], dtype=torch.int32), torch.tensor([0, 2**63 - 1, -2, 7])]
)
def test_offsets_whose_differences_overflow_are_refused(form: Form, offsets: Tensor) -> None:
    q = torch.zeros(7, 1, 2, dtype=form.dtype)
    with pytest.raises(ConfigError, match="offset 2 is below the one before it"):
        windowed(q, q, q, window=1, offsets=offsets, implementation=form.name)
