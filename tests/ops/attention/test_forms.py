from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuserec.ops.attention.pattern import Branch, Pattern
from fuserec.testing.attention import BRANCHES, Inputs, by_reference, drawn
from fuserec.testing.attention_forms import Form, assert_equals_reference, assert_near, attended, leaves

LENGTHS = (0, 1, 7, 63, 100, 200)
WIDTHS = (1, 8, 16, 32, 48, 64, 128)

OF_LENGTH = {f"{L} events": (L, Pattern(window=24, block=16, selected=2, group=8)) for L in LENGTHS}
OF_GROUP = {
    f"{L} events, a choice for {group}": (L, Pattern(window=24, block=16, selected=2, group=group))
    for L in LENGTHS
    for group in (1, 16)
}
OF_PATTERN = {
    "a window wider than the history": (63, Pattern(window=128, block=16, selected=2, group=8)),
    "a window of one": (63, Pattern(window=1, block=16, selected=2, group=8)),
    "an odd window": (100, Pattern(window=13, block=16, selected=2, group=8)),
    "a history of whole blocks": (96, Pattern(window=24, block=16, selected=2, group=8)),
    "a history of whole windows": (96, Pattern(window=32, block=16, selected=2, group=8)),
    "fewer blocks than selected": (40, Pattern(window=24, block=16, selected=10, group=8)),
    "none selected": (100, Pattern(window=24, block=16, selected=0, group=8)),
    "blocks of one": (40, Pattern(window=24, block=1, selected=3, group=1)),
    "blocks of seven": (100, Pattern(window=24, block=7, selected=3, group=7)),
    "blocks of seven, every query choosing alone": (63, Pattern(window=10, block=7, selected=3, group=1)),
    "all of the odd blocks selected": (100, Pattern(window=5, block=10, selected=40, group=5)),
    "blocks of eight": (100, Pattern(window=24, block=8, selected=4, group=8)),
    "blocks of 24": (100, Pattern(window=24, block=24, selected=2, group=8)),
    "blocks of 32": (200, Pattern(window=48, block=32, selected=2, group=8)),
    "blocks of 64": (200, Pattern(window=48, block=64, selected=1, group=8)),
    "a block wider than the history": (50, Pattern(window=24, block=64, selected=2, group=64)),
}
CASES = OF_LENGTH | OF_GROUP | OF_PATTERN
BLOCKS_ALONE = (
    "0 events",
    "1 events",
    "63 events",
    "200 events",
    "blocks of seven",
    "a block wider than the history",
)
WINDOW_ALONE = (*BLOCKS_ALONE[:4], "a window wider than the history", "a window of one", "an odd window")
ALONE: list[tuple[Branch, str]] = [
    *(("windowed", case) for case in WINDOW_ALONE),
    *(("blockwise", case) for case in BLOCKS_ALONE),
    *(("selective", case) for case in BLOCKS_ALONE),
]
"""Random gates make a branch's error visible in their sum, so a branch alone is held against the reference in few cases."""
TOGETHER: list[tuple[Branch, str]] = [("multi_granularity", case) for case in CASES]
RAGGED = Pattern(window=20, block=8, selected=2, group=4)
RAGGED_LENGTHS = (37, 0, 1, 50, 8, 0, 23)


@pytest.mark.parametrize(("branch", "case"), TOGETHER + ALONE)
def test_every_form_equals_the_reference_with(fast_form: Form, branch: Branch, case: str) -> None:
    L, pattern = CASES[case]
    inputs = drawn(0, pattern, (2, 2, L, 16), dtype=fast_form.dtype)
    assert_equals_reference(branch, inputs, pattern, fast_form)


@pytest.mark.parametrize(("branch", "case"), TOGETHER + [one for one in ALONE if one[0] != "windowed"])
def test_every_form_reads_block_query_key_value_and_bias_as_the_reference_with(
    fast_form: Form, branch: Branch, case: str
) -> None:
    L, pattern = CASES[case]
    inputs = drawn(0, pattern, (1, 3, L, 16), dtype=fast_form.dtype, summaries=True)
    assert_equals_reference(branch, inputs, pattern, fast_form)


@pytest.mark.parametrize("name", ["block_query", "block_key", "block_value", "block_bias"])
def test_every_form_takes_each_of_the_block_inputs_alone(fast_form: Form, name: str) -> None:
    inputs = drawn(1, RAGGED, (2, 2, 45, 16), dtype=fast_form.dtype, summaries=True)
    others = {"block_query", "block_key", "block_value", "block_bias"} - {name}
    alone = {key: x for key, x in inputs.items() if key not in others}
    assert_equals_reference("multi_granularity", alone, RAGGED, fast_form)


def test_every_form_leaves_columns_of_the_bias_that_no_block_is_so_far_for(fast_form: Form) -> None:
    inputs = drawn(2, RAGGED, (1, 2, 30, 16), dtype=fast_form.dtype, summaries=True)
    more = torch.cat([inputs["block_bias"], torch.full((2, 5), 9.0, dtype=fast_form.dtype)], dim=1)
    assert_equals_reference("multi_granularity", inputs | {"block_bias": more}, RAGGED, fast_form)


@pytest.mark.parametrize("D", WIDTHS)
def test_every_form_equals_the_reference_in_width(fast_form: Form, D: int) -> None:
    pattern = Pattern(window=24, block=16, selected=2, group=8)
    inputs = drawn(3, pattern, (1, 2, 75, D), dtype=fast_form.dtype)
    assert_equals_reference("multi_granularity", inputs, pattern, fast_form)


@pytest.mark.parametrize(
    ("L", "pattern"),
    [
        (520, Pattern(window=128, block=32, selected=4, group=8)),
        (701, Pattern(window=100, block=16, selected=4, group=16)),
        (300, Pattern(window=40, block=1, selected=5, group=1)),
    ],
    ids=["blocks of 32", "blocks of 16", "blocks of one"],
)
def test_every_form_equals_the_reference_with_many_blocks(fast_form: Form, L: int, pattern: Pattern) -> None:
    inputs = drawn(12, pattern, (1, 2, L, 64), dtype=fast_form.dtype, summaries=True)
    assert_equals_reference("multi_granularity", inputs, pattern, fast_form)


@pytest.mark.parametrize("shape", [(1, 1, 63, 16), (5, 1, 30, 16), (1, 5, 30, 16), (0, 2, 30, 16)])
def test_every_form_equals_the_reference_for_one_history_many_and_none(
    fast_form: Form, shape: tuple[int, int, int, int]
) -> None:
    inputs = drawn(4, RAGGED, shape, dtype=fast_form.dtype)
    assert_equals_reference("multi_granularity", inputs, RAGGED, fast_form)


@pytest.mark.parametrize("summaries", [False, True])
@pytest.mark.parametrize("branch", BRANCHES)
def test_every_form_equals_the_reference_cut_to_each_length(
    form_once: Form, branch: Branch, summaries: bool
) -> None:
    inputs = drawn(5, RAGGED, (7, 2, 50, 16), dtype=form_once.dtype, summaries=summaries)
    assert_equals_reference(branch, inputs, RAGGED, form_once, lengths=RAGGED_LENGTHS)


PACKED: list[tuple[Branch, tuple[int, ...]]] = [
    *((branch, RAGGED_LENGTHS) for branch in BRANCHES),
    *(("multi_granularity", lengths) for lengths in [(50,), (0,), (0, 0), (16, 16, 32)]),
]


@pytest.mark.parametrize(("branch", "lengths"), PACKED)
@pytest.mark.parametrize("summaries", [False, True])
def test_every_form_gives_for_packed_histories_what_the_reference_gives_for_each(
    form_once: Form, branch: Branch, summaries: bool, lengths: tuple[int, ...]
) -> None:
    shape = (len(lengths), 2, max(lengths), 16)
    inputs = drawn(6, RAGGED, shape, dtype=form_once.dtype, summaries=summaries)
    assert_equals_reference(branch, inputs, RAGGED, form_once, lengths=lengths, pack=True)


def test_every_form_takes_a_pack_of_no_history(form_once: Form) -> None:
    rows = {name: torch.zeros(0, 2, 16, dtype=form_once.dtype) for name in "qkv"}
    rows["gates"] = torch.zeros(0, 2, 3, dtype=form_once.dtype)
    offsets = torch.zeros(1, dtype=torch.int32)
    assert attended("multi_granularity", rows, RAGGED, form_once, offsets=offsets).shape == (0, 2, 16)


def test_offsets_and_lengths_may_be_of_int32_or_int64(form: Form) -> None:
    lengths = torch.tensor([3, 17])
    inputs = drawn(7, RAGGED, (2, 2, 17, 16), dtype=form.dtype)
    found = [
        attended("multi_granularity", inputs, RAGGED, form, lengths=lengths.to(dtype))
        for dtype in (torch.int32, torch.int64)
    ]
    assert torch.equal(*found)
    rows = {name: x[0] if name == "gates" else x[0].transpose(0, 1) for name, x in inputs.items()}
    found = [
        attended("multi_granularity", rows, RAGGED, form, offsets=torch.tensor([0, 3, 17], dtype=dtype))
        for dtype in (torch.int32, torch.int64)
    ]
    assert torch.equal(*found)


@pytest.mark.parametrize("lengths", [None, (45, 20)])
def test_every_form_takes_inputs_that_are_not_contiguous(
    fast_form: Form, lengths: tuple[int, ...] | None
) -> None:
    inputs = drawn(8, RAGGED, (2, 3, 45, 16), dtype=fast_form.dtype, summaries=True)
    # as a projection (B, L, H, D) leaves them, and with every other column of a wider tensor
    moved = {
        name: x.transpose(1, 2).contiguous().transpose(1, 2) for name, x in inputs.items() if x.dim() == 4
    }
    moved["v"] = inputs["v"].repeat_interleave(2, dim=-1)[..., ::2]
    moved["gates"] = inputs["gates"].permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0)
    moved["block_bias"] = inputs["block_bias"].mT.contiguous().mT
    assert not any(x.is_contiguous() for x in moved.values())
    assert all(torch.equal(x, inputs[name]) for name, x in moved.items())
    assert_equals_reference("multi_granularity", moved, RAGGED, fast_form, lengths=lengths)


@pytest.mark.parametrize("layout", ["of a sum", "transposed"])
def test_every_form_takes_gradients_that_are_not_contiguous(fast_form: Form, layout: str) -> None:
    inputs = drawn(9, RAGGED, (2, 3, 45, 16), dtype=fast_form.dtype)
    ours, exact = leaves(inputs, fast_form.dtype), leaves(inputs, torch.float64)
    found = attended("multi_granularity", ours, RAGGED, fast_form)
    expected = by_reference("multi_granularity", exact, RAGGED)
    numbers = torch.randn(16, 45, 3, 2, generator=torch.Generator().manual_seed(0))

    def gradients(out: Tensor, inputs: Inputs) -> tuple[Tensor, ...]:
        one = torch.ones((), dtype=out.dtype).expand(out.shape)  # in memory it is a single number
        upstream = one if layout == "of a sum" else numbers.to(out.dtype).permute(3, 2, 1, 0)
        assert not upstream.is_contiguous()
        return torch.autograd.grad(out, list(inputs.values()), upstream)

    for name, gradient, right in zip(inputs, gradients(found, ours), gradients(expected, exact), strict=True):
        assert_near(gradient, right, f"gradient by {name}")


@pytest.mark.parametrize("wanted", ["q", "k", "v", "gates", "block_key", "block_bias"])
def test_every_form_gives_the_gradient_of_one_input_alone(fast_form: Form, wanted: str) -> None:
    inputs = drawn(10, RAGGED, (1, 2, 30, 16), dtype=fast_form.dtype, summaries=True)
    together = leaves(inputs, fast_form.dtype)
    (expected,) = torch.autograd.grad(
        attended("multi_granularity", together, RAGGED, fast_form).square().sum(), together[wanted]
    )
    alone = inputs | {wanted: inputs[wanted].detach().requires_grad_()}
    (found,) = torch.autograd.grad(
        attended("multi_granularity", alone, RAGGED, fast_form).square().sum(), alone[wanted]
    )
    torch.testing.assert_close(found, expected)


def test_no_form_changes_its_inputs(form: Form) -> None:
    inputs = leaves(drawn(11, RAGGED, (2, 2, 45, 16), dtype=form.dtype, summaries=True), form.dtype)
    before = {name: x.detach().clone() for name, x in inputs.items()}
    attended("multi_granularity", inputs, RAGGED, form, lengths=torch.tensor([45, 20])).sum().backward()
    assert all(torch.equal(x, before[name]) for name, x in inputs.items())


@st.composite
def patterns(draw: st.DrawFn) -> Pattern:
    group = draw(st.integers(1, 8))
    block = group * draw(st.integers(1, 4))
    return Pattern(
        window=draw(st.integers(1, 40)), block=block, selected=draw(st.integers(0, 4)), group=group
    )


@settings(deadline=None, max_examples=25)
@given(
    pattern=patterns(),
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=4),
    H=st.integers(1, 3),
    D=st.sampled_from([1, 3, 16, 20, 64]),
    seed=st.integers(0, 99),
    summaries=st.booleans(),
    pack=st.booleans(),
    branch=st.sampled_from(BRANCHES),
)
def test_every_form_equals_the_reference_whatever_the_pattern(
    form: Form,
    pattern: Pattern,
    lengths: list[int],
    H: int,
    D: int,
    seed: int,
    summaries: bool,
    pack: bool,
    branch: Branch,
) -> None:
    shape = (len(lengths), H, max(lengths), D)
    inputs = drawn(seed, pattern, shape, dtype=form.dtype, summaries=summaries)
    assert_equals_reference(branch, inputs, pattern, form, lengths=lengths, pack=pack)
