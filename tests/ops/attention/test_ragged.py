from __future__ import annotations

import functools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuserec.ops.attention import reference
from fuserec.ops.attention.pattern import Pattern
from fuserec.ops.attention.ragged import Run, in_buckets, length_buckets, within
from fuserec.ops.attention.summaries import Summaries
from fuserec.ops.attention.visibility import num_blocks

# The shape hook (beartype) looks at a random entry of each list it checks, which hypothesis warns about.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

H, D = 2, 4
PATTERN = Pattern(window=3, block=4, selected=2, group=2)
LENGTHS = [7, 0, 1, 63, 16, 0, 5, 40, 17, 1]


def gated(
    q: Tensor, k: Tensor, v: Tensor, gates: Tensor | None, summaries: Summaries, *, pattern: Pattern = PATTERN
) -> Tensor:
    assert gates is not None
    return reference.multi_granularity(q, k, v, gates, pattern, summaries)


def selective(q: Tensor, k: Tensor, v: Tensor, gates: Tensor | None, summaries: Summaries) -> Tensor:
    assert gates is None
    return reference.selective(q, k, v, PATTERN, summaries)


class Packed:
    """Random packed histories: the tensors by name, each with a gradient, and what each history has of them."""

    def __init__(self, lengths: list[int], *, block: int = PATTERN.block, summaries: bool = False) -> None:
        generator = torch.Generator().manual_seed(sum(lengths) + len(lengths))
        self.lengths, self.blocks = lengths, [num_blocks(length, block) for length in lengths]
        self.offsets = torch.tensor([0, *lengths]).cumsum(0)
        shapes: dict[str, tuple[int, ...]] = {name: (sum(lengths), H, D) for name in ("q", "k", "v")}
        shapes["gates"] = (sum(lengths), H, 3)
        if summaries:
            shapes["query"] = shapes["q"]
            shapes["key"] = shapes["value"] = (sum(self.blocks), H, D)
            shapes["bias"] = (H, max([1, *self.blocks]))
        self.tensors = {
            name: torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()
            for name, shape in shapes.items()
        }

    def arguments(
        self, tensors: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Summaries]:
        read = Summaries(**{name: tensors.get(name) for name in ("query", "key", "value", "bias")})
        return tensors["q"], tensors["k"], tensors["v"], tensors.get("gates"), read

    def one_by_one(self, run: Run) -> Tensor:
        """The output of each history alone, packed again."""
        outputs = []
        for number in range(len(self.lengths)):
            alone = {}
            for name, tensor in self.tensors.items():
                if name == "bias":
                    alone[name] = tensor
                    continue
                rows = tensor.split(self.blocks if name in ("key", "value") else self.lengths)[number][None]
                alone[name] = rows if name == "gates" else rows.transpose(1, 2)
            outputs.append(run(*self.arguments(alone))[0].transpose(0, 1))
        return torch.cat([torch.empty(0, H, D, dtype=torch.float64), *outputs])

    def padded(self, *, filling: float) -> dict[str, Tensor]:
        """The same, right-padded with ``filling``, each with a gradient."""
        longest, most = max(self.lengths), max(self.blocks)
        padded = {}
        for name, tensor in self.tensors.items():
            if name == "bias":
                padded[name] = tensor.detach().clone().requires_grad_()
                continue
            counts = self.blocks if name in ("key", "value") else self.lengths
            size = most if name in ("key", "value") else longest
            rows = torch.full((len(counts), size, *tensor.shape[1:]), filling, dtype=tensor.dtype)
            for number, part in enumerate(tensor.detach().split(counts)):
                rows[number, : counts[number]] = part
            padded[name] = (rows if name == "gates" else rows.transpose(1, 2)).requires_grad_()
        return padded


def gradients(out: Tensor, tensors: dict[str, Tensor], upstream: Tensor) -> dict[str, Tensor]:
    return dict(zip(tensors, torch.autograd.grad(out, list(tensors.values()), upstream), strict=True))


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("summaries", [False, True])
@pytest.mark.parametrize("offsets_of", [torch.int32, torch.int64])
def test_buckets_equal_one_history_at_a_time_in_values_and_gradients(
    summaries: bool, offsets_of: torch.dtype
) -> None:
    packed = Packed(LENGTHS, summaries=summaries)
    expected = packed.one_by_one(gated)
    offsets = packed.offsets.to(offsets_of)
    out = in_buckets(gated, *packed.arguments(packed.tensors), offsets, block=PATTERN.block)
    torch.testing.assert_close(out, expected)
    upstream = normal(*out.shape)
    torch.testing.assert_close(
        gradients(out, packed.tensors, upstream), gradients(expected, packed.tensors, upstream)
    )


@pytest.mark.parametrize("lengths", [[], [0], [0, 0], [1], [0, 3]])
def test_no_history_and_no_event_are_packs_too(lengths: list[int]) -> None:
    packed = Packed(lengths, summaries=True)
    out = in_buckets(gated, *packed.arguments(packed.tensors), packed.offsets, block=PATTERN.block)
    torch.testing.assert_close(out, packed.one_by_one(gated))
    found = gradients(out, packed.tensors, torch.ones_like(out))
    assert {name: gradient.shape for name, gradient in found.items()} == {
        name: tensor.shape for name, tensor in packed.tensors.items()
    }


def test_a_branch_without_gates_is_packed_and_padded_too() -> None:
    packed = Packed([5, 0, 12])
    del packed.tensors["gates"]
    expected = packed.one_by_one(selective)
    arguments = packed.arguments(packed.tensors)
    torch.testing.assert_close(in_buckets(selective, *arguments, packed.offsets, block=4), expected)
    out = within(
        selective, *packed.arguments(packed.padded(filling=0)), torch.tensor(packed.lengths), block=4
    )
    torch.testing.assert_close(out[2].transpose(0, 1), expected[5:])


def test_the_gradient_of_packing_can_be_differentiated_again() -> None:
    packed = Packed([3, 0, 6, 30])
    leaves = [packed.tensors[name] for name in ("q", "k", "v", "gates")]

    def call(q: Tensor, k: Tensor, v: Tensor, gates: Tensor) -> Tensor:
        return in_buckets(gated, q, k, v, gates, Summaries(), packed.offsets, block=4)

    assert torch.autograd.gradgradcheck(call, leaves, fast_mode=True)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 24), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_permuting_the_histories_permutes_the_result(lengths: list[int], chance: object) -> None:
    packed = Packed(lengths)
    order = list(range(len(lengths)))
    chance.shuffle(order)  # type: ignore[attr-defined]
    rows = torch.cat([torch.arange(sum(lengths)).split(lengths)[number] for number in order])
    moved = {name: tensor[rows] for name, tensor in packed.tensors.items()}
    offsets = torch.tensor([0, *(lengths[number] for number in order)]).cumsum(0)
    out = in_buckets(gated, *packed.arguments(packed.tensors), packed.offsets, block=4)
    torch.testing.assert_close(in_buckets(gated, *packed.arguments(moved), offsets, block=4), out[rows])


@pytest.mark.parametrize("filling", [0.0, 1e4, math.inf, math.nan])
@pytest.mark.parametrize("summaries", [False, True])
@pytest.mark.parametrize("lengths_of", [torch.int32, torch.int64])
def test_what_stands_in_a_pad_changes_nothing_and_gets_nothing(
    filling: float, summaries: bool, lengths_of: torch.dtype
) -> None:
    packed = Packed(LENGTHS, summaries=summaries)
    padded = packed.padded(filling=filling)
    lengths = torch.tensor(LENGTHS, dtype=lengths_of)
    out = within(gated, *packed.arguments(padded), lengths, block=PATTERN.block)
    upstream = normal(sum(LENGTHS), H, D)
    upstream_of_padded = torch.full_like(out, filling)
    for number, part in enumerate(upstream.split(LENGTHS)):
        upstream_of_padded[number, :, : len(part)] = part.transpose(0, 1)
    found = {"out": out, **gradients(out, padded, upstream_of_padded)}
    expected = packed.one_by_one(gated)
    exact = {"out": expected, **gradients(expected, packed.tensors, upstream)}
    if summaries:
        torch.testing.assert_close(found.pop("bias"), exact.pop("bias"))
    for name, tensor in found.items():
        events_first = tensor if name == "gates" else tensor.transpose(1, 2)
        counts = packed.blocks if name in ("key", "value") else packed.lengths
        for number, part in enumerate(exact[name].split(counts)):
            torch.testing.assert_close(events_first[number, : len(part)], part, msg=name)
            assert (events_first[number, len(part) :] == 0).all(), name


def test_all_pads_and_no_history_are_zero() -> None:
    x = torch.full((3, H, 5, D), math.nan)
    gates = torch.full((3, 5, H, 3), math.nan)
    out = within(gated, x, x, x, gates, Summaries(), torch.zeros(3, dtype=torch.int64), block=4)
    assert (out == 0).all()
    x, gates, lengths = x[:0], gates[:0], torch.zeros(0, dtype=torch.int64)
    assert within(gated, x, x, x, gates, Summaries(), lengths, block=4).shape == (0, H, 5, D)


def test_buckets_by_hand() -> None:
    lengths = torch.tensor([100, 1, 0, 17, 66, 18, 100, 67])
    found = [bucket.tolist() for bucket in length_buckets(lengths, stretch=1.5, slack=16)]
    # 1 to 1.5 * 1 + 16 = 17; 18 to 43; 66 to 115
    assert found == [[1, 3], [5], [4, 7, 0, 6]]
    assert length_buckets(torch.tensor([], dtype=torch.int64)) == []
    assert length_buckets(torch.tensor([0, 0])) == []


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.integers(0, 60), st.integers(0, 20_000)), max_size=60),
    st.floats(1.05, 3),
    st.integers(1, 64),
)
def test_every_history_is_in_one_bucket_and_few_buckets_waste_little(
    lengths: list[int], stretch: float, slack: int
) -> None:
    buckets = length_buckets(torch.tensor(lengths, dtype=torch.int64), stretch=stretch, slack=slack)
    members = [number for bucket in buckets for number in bucket.tolist()]
    assert sorted(members) == [number for number, length in enumerate(lengths) if length]
    for bucket in buckets:
        longest = max(lengths[number] for number in bucket.tolist())
        assert all(longest <= stretch * lengths[number] + slack for number in bucket.tolist())
    # the shortest of bucket b is at least (1 + a) * stretch^b - a
    a = slack / (stretch - 1)
    most = math.log((max([1, *lengths]) + a) / (1 + a)) / math.log(stretch)
    assert len(buckets) <= 1 + most + 1e-9


def test_equal_lengths_stay_together_and_in_order() -> None:
    lengths = torch.tensor([9, 300, 9, 300, 9])
    assert [bucket.tolist() for bucket in length_buckets(lengths)] == [[0, 2, 4], [1, 3]]


def test_a_bucket_is_padded_to_its_own_longest() -> None:
    shapes = []

    def noted(q: Tensor, k: Tensor, v: Tensor, gates: Tensor | None, summaries: Summaries) -> Tensor:
        shapes.append(tuple(q.shape))
        return gated(q, k, v, gates, summaries)

    packed = Packed([3, 200, 5, 210, 0])
    in_buckets(noted, *packed.arguments(packed.tensors), packed.offsets, block=4)
    assert shapes == [(2, H, 5, D), (2, H, 210, D)]


def test_every_block_size_finds_its_summaries() -> None:
    for block in (1, 3, 8):
        pattern = Pattern(window=2, block=block, selected=1, group=1)
        packed = Packed([4, 1, 9, 30], block=block, summaries=True)
        run = functools.partial(gated, pattern=pattern)
        out = in_buckets(run, *packed.arguments(packed.tensors), packed.offsets, block=block)
        torch.testing.assert_close(out, packed.one_by_one(run))
