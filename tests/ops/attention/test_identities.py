from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from fuserec.ops.attention.pattern import Branch, Pattern
from fuserec.testing.attention import Inputs, drawn, gradients
from fuserec.testing.attention_forms import Form, assert_near, attended, leaves

PATTERN = Pattern(window=10, block=8, selected=2, group=4)
SHAPE = (2, 2, 45, 16)


def assert_same_function(found: Tensor, ours: Inputs, expected: Tensor, theirs: Inputs) -> None:
    assert_near(found, expected, "values")
    exact = gradients(expected, theirs)
    for name, gradient in gradients(found, ours).items():
        assert_near(gradient, exact[name], f"gradient by {name}")


def causal(inputs: Inputs) -> Tensor:
    return scaled_dot_product_attention(inputs["q"], inputs["k"], inputs["v"], is_causal=True)


@pytest.mark.parametrize("window", [45, 46, 1000])
def test_a_window_as_wide_as_the_history_is_causal_attention(form_once: Form, window: int) -> None:
    inputs = drawn(0, PATTERN, SHAPE, dtype=form_once.dtype)
    ours, theirs = leaves(inputs, form_once.dtype), leaves(inputs, torch.float64)
    found = attended("windowed", ours, dataclasses.replace(PATTERN, window=window), form_once)
    assert_same_function(found, ours, causal(theirs), theirs)


@pytest.mark.parametrize("group", [1, 4, 8])
@pytest.mark.parametrize("selected", [5, 6, 100])
def test_with_all_blocks_selected_the_selective_branch_is_causal_attention(
    form_once: Form, selected: int, group: int
) -> None:
    inputs = drawn(1, PATTERN, SHAPE, dtype=form_once.dtype)
    ours, theirs = leaves(inputs, form_once.dtype), leaves(inputs, torch.float64)
    pattern = dataclasses.replace(PATTERN, selected=selected, group=group)
    assert_same_function(attended("selective", ours, pattern, form_once), ours, causal(theirs), theirs)


def test_with_none_selected_every_block_is_causal_attention_of_its_own(form: Form) -> None:
    inputs = drawn(2, PATTERN, (2, 2, 48, 16), dtype=form.dtype)
    ours, theirs = leaves(inputs, form.dtype), leaves(inputs, torch.float64)
    found = attended("selective", ours, dataclasses.replace(PATTERN, selected=0), form)
    apart = {name: theirs[name].unflatten(2, (6, 8)).transpose(1, 2).flatten(0, 1) for name in "qkv"}
    expected = causal(apart).unflatten(0, (2, 6)).transpose(1, 2).flatten(2, 3)
    assert_same_function(found, ours, expected, theirs)


def test_with_blocks_of_one_the_block_level_branch_is_attention_to_the_strict_past(form: Form) -> None:
    inputs = drawn(3, PATTERN, SHAPE, dtype=form.dtype)
    ours, theirs = leaves(inputs, form.dtype), leaves(inputs, torch.float64)
    found = attended("blockwise", ours, dataclasses.replace(PATTERN, block=1, group=1), form)
    assert not found[:, :, 0].any()
    past = torch.ones(45, 45, dtype=torch.bool).tril(-1)[1:]
    q, k, v = (theirs[name] for name in "qkv")
    later = scaled_dot_product_attention(q[:, :, 1:], k, v, attn_mask=past)
    expected = torch.cat([torch.zeros_like(later[:, :, :1]), later], dim=2)
    assert_same_function(found, ours, expected, theirs)


@pytest.mark.parametrize("order", [(0, "windowed"), (1, "blockwise"), (2, "selective")])
def test_a_gate_of_one_with_the_others_zero_is_that_branch(form: Form, order: tuple[int, Branch]) -> None:
    column, branch = order
    inputs = drawn(4, PATTERN, SHAPE, dtype=form.dtype, summaries=True)
    gates = torch.zeros(2, 45, 2, 3, dtype=form.dtype)
    gates[..., column] = 1
    ours = leaves(inputs | {"gates": gates}, form.dtype)
    theirs = leaves(inputs | {"gates": gates}, form.dtype)
    found, expected = (
        attended("multi_granularity", ours, PATTERN, form),
        attended(branch, theirs, PATTERN, form),
    )
    assert_near(found, expected, "values")
    exact, gradient = gradients(expected, theirs), gradients(found, ours)
    for name in set(exact) - {"gates"}:
        assert_near(gradient[name], exact[name], f"gradient by {name}")


def test_the_output_is_linear_in_the_gates_each_token_and_head_its_own(form: Form) -> None:
    inputs = drawn(5, PATTERN, SHAPE, dtype=form.dtype)
    branches = [attended(branch, inputs, PATTERN, form) for branch in ("windowed", "blockwise", "selective")]
    weighed = [inputs["gates"][..., i].transpose(1, 2)[..., None] * out for i, out in enumerate(branches)]
    assert_near(attended("multi_granularity", inputs, PATTERN, form), sum(weighed, torch.zeros(())), "values")


def test_the_means_given_as_summaries_are_the_default(form: Form) -> None:
    inputs = drawn(6, PATTERN, (2, 2, 48, 16), dtype=form.dtype)
    means = {
        f"block_{name}": inputs[x].unflatten(2, (6, 8)).mean(3) for name, x in (("key", "k"), ("value", "v"))
    }
    given = means | {"block_query": inputs["q"], "block_bias": torch.zeros(2, 5, dtype=form.dtype)}
    assert_near(
        attended("multi_granularity", inputs | given, PATTERN, form),
        attended("multi_granularity", inputs, PATTERN, form),
        "values",
    )


def test_the_group_is_part_of_the_function(form: Form) -> None:
    inputs = drawn(7, PATTERN, (2, 2, 100, 16), dtype=form.dtype)
    found = [
        attended("selective", inputs, dataclasses.replace(PATTERN, selected=1, group=group), form)
        for group in (1, 8)
    ]
    assert (found[0] - found[1]).abs().max() > 0.1
