"""The blocked form equals the literal one, values and gradients, wherever the sizes do not fit each other."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import Tensor

from fuserec.ops.attention import reference
from fuserec.ops.attention.blocked import form as blocked
from fuserec.ops.attention.blocked.choice import choose
from fuserec.ops.attention.blocked.tiles import MAX_SCORES
from fuserec.ops.attention.pattern import Branch, Pattern
from fuserec.ops.attention.summaries import Summaries
from fuserec.ops.attention.visibility import num_blocks

BRANCHES: tuple[Branch, ...] = ("windowed", "blockwise", "selective", "multi_granularity")
PATTERNS = {
    "group is the block": Pattern(window=16, block=8, selected=2, group=8),
    "group of one": Pattern(window=40, block=8, selected=3, group=1),
    "group of eight in a block of 32": Pattern(window=128, block=32, selected=4, group=8),
    "blocks and window of one": Pattern(window=1, block=1, selected=4, group=1),
    "none selected": Pattern(window=45, block=16, selected=0, group=8),
    "all selected, odd block": Pattern(window=5, block=10, selected=40, group=5),
    "window longer than histories": Pattern(window=1000, block=32, selected=4, group=32),
}
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-11}


def drawn(
    length: int, pattern: Pattern, dtype: torch.dtype, *, summaries: bool = False, B: int = 2, H: int = 3
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(length + 1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=dtype, generator=generator).requires_grad_()

    C = num_blocks(length, pattern.block)
    inputs = {name: normal(B, H, length, 8) for name in ("q", "k", "v")}
    inputs["gates"] = normal(B, length, H, 3)
    if summaries:
        inputs |= {"query": normal(B, H, length, 8), "key": normal(B, H, C, 8), "value": normal(B, H, C, 8)}
        inputs["bias"] = normal(H, C + 2)
    return inputs


def computed(form: ModuleType, branch: Branch, inputs: dict[str, Tensor], pattern: Pattern) -> Tensor:
    q, k, v = inputs["q"], inputs["k"], inputs["v"]
    out: Tensor
    if branch == "windowed":
        out = form.windowed(q, k, v, pattern)
        return out
    summaries = Summaries(**{name: inputs.get(name) for name in ("query", "key", "value", "bias")})
    if branch == "multi_granularity":
        out = form.multi_granularity(q, k, v, inputs["gates"], pattern, summaries)
        return out
    out = getattr(form, branch)(q, k, v, pattern, summaries)
    return out


def with_gradients(
    form: ModuleType, branch: Branch, inputs: dict[str, Tensor], pattern: Pattern
) -> dict[str, Tensor]:
    out = computed(form, branch, inputs, pattern)
    upstream = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(9))
    gradients = torch.autograd.grad(
        out, list(inputs.values()), upstream, allow_unused=True, materialize_grads=True
    )
    return {"out": out.detach()} | dict(zip(inputs, gradients, strict=True))


def assert_equal(branch: Branch, inputs: dict[str, Tensor], pattern: Pattern) -> None:
    literal = with_gradients(reference, branch, inputs, pattern)
    fast = with_gradients(blocked, branch, inputs, pattern)
    tolerance = TOLERANCE[inputs["q"].dtype]
    for name, expected in literal.items():
        try:
            torch.testing.assert_close(fast[name], expected, atol=tolerance, rtol=tolerance)
        except AssertionError as error:
            error.add_note(f"{name} of {branch}")
            raise


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("length", [0, 1, 7, 63, 100, 331])
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_values_and_gradients_are_those_of_the_literal_form(
    pattern: Pattern, length: int, dtype: torch.dtype
) -> None:
    for branch in BRANCHES:
        assert_equal(branch, drawn(length, pattern, dtype), pattern)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("length", [0, 1, 7, 63, 100, 331])
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_summaries_of_the_callers_own_get_their_gradients(
    pattern: Pattern, length: int, dtype: torch.dtype
) -> None:
    for branch in BRANCHES[1:]:
        assert_equal(branch, drawn(length, pattern, dtype, summaries=True), pattern)


@pytest.mark.parametrize("given", ["query", "key", "value", "bias"])
def test_one_summary_may_be_given_without_the_others(given: str) -> None:
    pattern = PATTERNS["group is the block"]
    inputs = drawn(63, pattern, torch.float64, summaries=True)
    for other in {"query", "key", "value", "bias"} - {given}:
        del inputs[other]
    for branch in BRANCHES[1:]:
        assert_equal(branch, inputs, pattern)


@pytest.mark.parametrize(
    "shape", [(0, 3), (1, 1), (40, 1)], ids=["no sequence", "one head", "many sequences"]
)
def test_any_number_of_sequences_and_heads_does(shape: tuple[int, int]) -> None:
    pattern = PATTERNS["group of eight in a block of 32"]
    B, H = shape
    for summaries in (False, True):
        inputs = drawn(300, pattern, torch.float64, summaries=summaries, B=B, H=H)
        assert_equal("multi_granularity", inputs, pattern)


def test_histories_too_long_for_one_tile_run_are_cut_into_several() -> None:
    pattern = Pattern(window=64, block=16, selected=4, group=8)
    assert 32 * (MAX_SCORES // (32 * 96)) < 2301
    assert 16 * (MAX_SCORES // (16 * 80)) < 2301
    assert_equal("multi_granularity", drawn(2301, pattern, torch.float64, B=1, H=1), pattern)


def test_heads_may_lie_between_positions_in_memory() -> None:
    pattern = PATTERNS["group is the block"]
    inputs = drawn(100, pattern, torch.float64)
    apart = {
        name: x.detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
        for name, x in inputs.items()
        if name in {"q", "k", "v"}
    }
    assert not apart["q"].is_contiguous()
    assert_equal("multi_granularity", inputs | apart, pattern)
    expected = computed(blocked, "multi_granularity", inputs, pattern)
    assert torch.equal(computed(blocked, "multi_granularity", inputs | apart, pattern), expected)


@pytest.mark.parametrize("branch", BRANCHES)
def test_huge_scores_give_finite_values_and_gradients(branch: Branch) -> None:
    pattern = PATTERNS["group of eight in a block of 32"]
    inputs = {
        name: (x * (60 if name in {"q", "k"} else 1)).detach().requires_grad_()
        for name, x in drawn(331, pattern, torch.float32).items()
    }
    assert (inputs["q"] @ inputs["k"].mT).abs().max() / 8**0.5 > 1e3
    for result in with_gradients(blocked, branch, inputs, pattern).values():
        assert result.isfinite().all()


def test_a_history_that_is_not_a_number_spoils_no_other() -> None:
    pattern = PATTERNS["group is the block"]
    inputs = drawn(331, pattern, torch.float64)
    spoilt = {name: x.detach().clone() for name, x in inputs.items()}
    for x in spoilt.values():
        x[0] = torch.nan
    out = computed(blocked, "multi_granularity", spoilt, pattern)
    assert torch.equal(out[1], computed(blocked, "multi_granularity", inputs, pattern)[1])


@pytest.mark.parametrize("group", [1, 8])
@pytest.mark.parametrize("length", [1, 7, 63, 100, 700])
@pytest.mark.parametrize("bias", [False, True])
def test_the_choice_is_the_literal_one(length: int, group: int, bias: bool) -> None:
    pattern = Pattern(window=1, block=8, selected=3, group=group)
    inputs = drawn(length, pattern, torch.float32, summaries=True)
    query, key, by_distance = inputs["query"], inputs["key"], inputs["bias"] if bias else None
    summaries = Summaries(query=query, key=key, bias=by_distance)
    expected = reference.choose(inputs["q"], inputs["k"], pattern, summaries)
    got = choose(query, key, by_distance, block=8, selected=3, group=group)
    assert torch.equal(got.sort().values, expected.sort().values)


def test_equal_blocks_go_to_the_earlier_one() -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 3, 400, 8, generator=generator)
    key = torch.randn(2, 3, 5, 8, generator=generator).repeat(1, 1, 10, 1)
    choice = choose(query, key, None, block=8, selected=4, group=4)
    pattern = Pattern(window=1, block=8, selected=4, group=4)
    literal = reference.choose(query, query, pattern, Summaries(key=key))
    assert torch.equal(choice.sort().values, literal.sort().values)
    # of ten copies of the best of five the first four
    late = choice[:, -1].sort().values
    assert torch.equal(late, late[:, :1] % 5 + 5 * torch.arange(4))


def test_events_after_a_position_change_nothing_before_it() -> None:
    pattern = PATTERNS["group is the block"]
    inputs = drawn(40, pattern, torch.float64, summaries=False, B=1, H=2)
    whole = computed(blocked, "multi_granularity", inputs, pattern)
    for cut in range(16, 33):
        changed = {name: x.detach().clone() for name, x in inputs.items()}
        for name in ("q", "k", "v"):
            changed[name][:, :, cut:] = 7.0
        changed["gates"][:, cut:] = 7.0
        out = computed(blocked, "multi_granularity", changed, pattern)
        torch.testing.assert_close(out[:, :, :cut], whole[:, :, :cut], atol=1e-12, rtol=0)
