"""What must not matter: padding, other users, the order of users, the number of threads; and numbers at the rim."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from fuserec.ops.attention.pattern import Branch, Pattern
from fuserec.testing.attention import BRANCHES, Inputs, by_reference, drawn, gradients
from fuserec.testing.attention_forms import Form, assert_near, attended, leaves, packed

PATTERN = Pattern(window=10, block=8, selected=2, group=4)
LENGTHS = (37, 0, 50, 8)
SHAPE = (4, 2, 50, 16)


def behind_the_end(inputs: Inputs, block: int) -> Inputs:
    """For each input where it stands behind the end of its history."""
    places = {}
    for name, x in inputs.items():
        axis = 1 if name == "gates" else 2
        ends = [-(-length // block) if name in {"block_key", "block_value"} else length for length in LENGTHS]
        after = torch.arange(x.shape[axis]) >= torch.tensor(ends)[:, None]
        places[name] = after.view(len(x), *(-1 if i == axis else 1 for i in range(1, x.dim()))).expand(
            x.shape
        )
    return places


@pytest.mark.parametrize("summaries", [False, True])
@pytest.mark.parametrize("junk", [1e4, float("nan"), float("inf")])
@pytest.mark.parametrize("branch", BRANCHES)
def test_what_stands_behind_the_end_of_a_history_changes_nothing(
    form: Form, branch: Branch, junk: float, summaries: bool
) -> None:
    inputs = drawn(0, PATTERN, SHAPE, dtype=form.dtype, summaries=summaries)
    bias = {name: inputs.pop(name) for name in ("block_bias",) if name in inputs}
    places = behind_the_end(inputs, PATTERN.block)
    clean, dirty = (
        leaves({name: x.masked_fill(places[name], number) for name, x in inputs.items()} | bias, form.dtype)
        for number in (0.0, junk)
    )
    lengths = torch.tensor(LENGTHS)
    expected = attended(branch, clean, PATTERN, form, lengths=lengths)
    found = attended(branch, dirty, PATTERN, form, lengths=lengths)
    assert torch.equal(found, expected)
    assert not found[places["q"]].any()
    ours, theirs = gradients(found, dirty), gradients(expected, clean)
    for name, gradient in ours.items():
        assert torch.equal(gradient, theirs[name]), name
        assert name == "block_bias" or not gradient[places[name]].any(), name


@pytest.mark.parametrize("branch", BRANCHES)
def test_more_padding_changes_nothing(form: Form, branch: Branch) -> None:
    inputs = drawn(1, PATTERN, SHAPE, dtype=form.dtype)
    padded = {
        name: torch.cat([x, torch.full_like(x, 7.0)], dim=1 if name == "gates" else 2)
        for name, x in inputs.items()
    }
    lengths = torch.tensor(LENGTHS)
    found = attended(branch, padded, PATTERN, form, lengths=lengths)
    assert_near(found[:, :, :50], attended(branch, inputs, PATTERN, form, lengths=lengths), "values")
    assert not found[:, :, 50:].any()


@pytest.mark.parametrize("branch", BRANCHES)
def test_other_users_in_the_batch_change_nothing(form: Form, branch: Branch) -> None:
    inputs = drawn(2, PATTERN, SHAPE, dtype=form.dtype)
    others = {name: torch.cat([x[:2], 50 * x[2:].flip(0)]) for name, x in inputs.items()}
    found, expected = (attended(branch, one, PATTERN, form)[:2] for one in (others, inputs))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    alone = {name: x[:1] for name, x in inputs.items()}
    torch.testing.assert_close(attended(branch, alone, PATTERN, form), expected[:1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("branch", BRANCHES)
def test_the_order_of_users_does_not_matter(form: Form, branch: Branch) -> None:
    inputs, order = drawn(3, PATTERN, SHAPE, dtype=form.dtype), torch.tensor([2, 0, 3, 1])
    lengths = torch.tensor(LENGTHS)
    moved = {name: x[order] for name, x in inputs.items()}
    expected = attended(branch, inputs, PATTERN, form, lengths=lengths)[order]
    found = attended(branch, moved, PATTERN, form, lengths=lengths[order])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    rows, offsets = packed(moved, lengths[order].tolist(), PATTERN.block)
    real = (torch.arange(50) < lengths[order, None]).nonzero(as_tuple=True)
    found = attended(branch, rows, PATTERN, form, offsets=offsets)
    torch.testing.assert_close(found, expected.transpose(1, 2)[real], rtol=0, atol=2e-6)


@pytest.mark.parametrize("branch", BRANCHES)
def test_the_same_call_gives_the_same_bits(form: Form, branch: Branch) -> None:
    inputs = leaves(drawn(4, PATTERN, (2, 2, 150, 16), dtype=form.dtype), form.dtype)
    outs = [attended(branch, inputs, PATTERN, form) for _ in range(3)]
    found = [gradients(out, inputs) for out in outs]
    assert all(torch.equal(out, outs[0]) for out in outs)
    assert all(torch.equal(one[name], found[0][name]) for one in found for name in inputs)


@pytest.fixture
def threads() -> Iterator[None]:
    """What torch has is put back after the test."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("shape", [(1, 1, 300, 16), (3, 2, 100, 32), (1, 3, 64, 64), (2, 1, 7, 16)])
@pytest.mark.parametrize("branch", BRANCHES)
def test_the_number_of_threads_changes_no_bit_of_the_native_form(
    native_form: Form, branch: Branch, shape: tuple[int, int, int, int]
) -> None:
    drawn_inputs = drawn(5, PATTERN, shape, dtype=torch.float32, summaries=True)
    results: list[tuple[Tensor, Inputs]] = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        inputs = leaves(drawn_inputs, torch.float32)
        out = attended(branch, inputs, PATTERN, native_form)
        results.append((out, gradients(out, inputs)))
    for out, found in results[1:]:
        assert torch.equal(out, results[0][0])
        for name, gradient in found.items():
            assert torch.equal(gradient, results[0][1][name]), name


@pytest.mark.parametrize("branch", BRANCHES)
def test_scores_of_a_thousand_leave_values_and_gradients_finite(form: Form, branch: Branch) -> None:
    inputs = drawn(6, PATTERN, SHAPE, dtype=form.dtype, summaries=True)
    # scaled products of a standard deviation of 1,000
    large = {
        name: 1000**0.5 * x if name in {"q", "k", "block_query", "block_key"} else x
        for name, x in inputs.items()
    }
    large["block_bias"] = 1000 * inputs["block_bias"]
    ours = leaves(large, form.dtype)
    out = attended(branch, ours, PATTERN, form)
    assert bool(out.isfinite().all())
    assert all(bool(gradient.isfinite().all()) for gradient in gradients(out, ours).values())
    # with every block chosen no rounding of a share decides
    every = dataclasses.replace(PATTERN, selected=7)
    expected = by_reference(branch, {name: x.double() for name, x in large.items()}, every)
    torch.testing.assert_close(attended(branch, large, every, form).double(), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("score", [1e3, -1e3, 1e4])
@pytest.mark.parametrize("branch", BRANCHES)
def test_equal_scores_however_large_weigh_the_same(form: Form, branch: Branch, score: float) -> None:
    inputs = drawn(7, PATTERN, SHAPE, dtype=form.dtype)
    sized = {"q": torch.ones_like(inputs["q"]), "k": torch.full_like(inputs["k"], score / 4)}
    zeros = {"q": torch.ones_like(inputs["q"]), "k": torch.zeros_like(inputs["k"])}
    assert_near(
        attended(branch, inputs | sized, PATTERN, form),
        attended(branch, inputs | zeros, PATTERN, form),
        "values",
    )


@pytest.mark.parametrize("bias", [0.0, 1e4, -1e4])
def test_queries_that_see_no_block_get_zero_and_send_back_none(form: Form, bias: float) -> None:
    inputs = drawn(8, PATTERN, (2, 2, 20, 16), dtype=form.dtype, summaries=True)
    ours = leaves(inputs | {"block_bias": torch.full_like(inputs["block_bias"], bias)}, form.dtype)
    out = attended("blockwise", ours, PATTERN, form)
    assert not out[:, :, :8].any()
    assert out[:, :, 8:].any()
    found = gradients(out, ours)
    assert not found["block_query"][:, :, :8].any()
    assert all(bool(gradient.isfinite().all()) for gradient in found.values())


def test_a_history_within_one_block_has_no_block_level_output_and_no_gradient(form: Form) -> None:
    ours = leaves(drawn(9, PATTERN, (2, 2, 8, 16), dtype=form.dtype, summaries=True), form.dtype)
    out = attended("blockwise", ours, PATTERN, form)
    assert not out.any()
    assert not any(gradient.any() for gradient in gradients(out, ours).values())
