"""The layer against one in loops: for each event the sets of what it sees, written from the specification alone."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from fuserec.errors import ConfigError
from fuserec.nn.sparse_attention import ALL_BRANCHES, SparseAttention
from fuserec.ops.blocks import Blocks
from fuserec.ops.borders import content_borders

DIM, HEADS, BLOCK = 8, 2, 4
OFFSETS = torch.tensor([0, 13, 13, 14, 40])
PATTERN: dict[str, Any] = {"window": 5, "block": BLOCK, "selected": 2, "group": 2}
SWITCHES: list[dict[str, Any]] = [
    {},
    {"gated": False},
    {"learnt_pooling": True},
    {"branches": ("window",)},
    {"branches": ("block",), "learnt_pooling": True},
    {"branches": ("selected",)},
    {"branches": ("window", "block")},
    {"branches": ("window", "selected"), "gated": False},
    {"branches": ("block", "selected")},
]


def layer(*, dtype: torch.dtype = torch.float64, seed: int = 0, **switches: Any) -> SparseAttention:
    """With weights so large that products differ, and choices with them."""
    generator = torch.Generator().manual_seed(seed)
    attention = SparseAttention(DIM, HEADS, **PATTERN, **switches, generator=generator)
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return attention.to(dtype)


def events(count: int = 40, seed: int = 1) -> Tensor:
    return torch.randn(
        count, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    ).requires_grad_()


def bordered(x: Tensor, offsets: Tensor = OFFSETS) -> Blocks:
    begins = content_borders(x.double(), offsets, threshold=-0.3, block=BLOCK)
    return Blocks.at(begins, offsets, block=BLOCK)


def turned(x: Tensor, t: int) -> Tensor:
    out = []
    for i in range(len(x)):
        angle = t * 10_000 ** (-2 * (i // 2) / len(x))
        partner = x[i - 1] if i % 2 else -x[i + 1]
        out.append(x[i] * math.cos(angle) + partner * math.sin(angle))
    return torch.stack(out)


def distance_range(m: int) -> int:
    """1, 2, 3 and 4 blocks back; then each doubling in two halves, up to a last one."""
    if m <= 4:
        return m - 1
    octave = (m - 1).bit_length() - 3
    return min(4 + 2 * octave + ((m - 1) >> (octave + 1)) % 2, 23)


def attended(query: Tensor, keys: list[Tensor], values: list[Tensor], bias: list[Tensor] | None) -> Tensor:
    if not keys:
        return query * 0
    logits = [query @ key / math.sqrt(len(query)) for key in keys]
    if bias is not None:
        logits = [logit + more for logit, more in zip(logits, bias, strict=True)]
    weights = torch.stack(logits).softmax(0)
    return torch.stack([w * v for w, v in zip(weights, values, strict=True)]).sum(0)


def one_history(attention: SparseAttention, x: Tensor, borders: list[int]) -> list[Tensor]:
    """The rows of a history whose blocks begin at these events."""
    width, L = DIM // HEADS, len(x)
    qkv = [attention.qkv.weight @ row + attention.qkv.bias for row in x]
    heads = [slice(h * width, (h + 1) * width) for h in range(HEADS)]
    q, k, v = (
        [[row[part * DIM : (part + 1) * DIM][head] for row in qkv] for head in heads] for part in range(3)
    )
    blocks = [list(range(b, e)) for b, e in zip(borders, [*borders[1:], L], strict=True)]
    own = [c for c, block in enumerate(blocks) for _ in block]
    key: list[list[Tensor]] = [[] for _ in heads]
    value: list[list[Tensor]] = [[] for _ in heads]
    for h in range(HEADS):
        for block in blocks:
            score = (
                torch.zeros(len(block), dtype=x.dtype)
                if attention.pooling is None
                else torch.stack([x[s] @ attention.pooling[:, h] for s in block])
            )
            shares = score.softmax(0)
            key[h].append(torch.stack([p * k[h][s] for p, s in zip(shares, block, strict=True)]).sum(0))
            value[h].append(torch.stack([p * v[h][s] for p, s in zip(shares, block, strict=True)]).sum(0))

    def bias(h: int, c: int) -> list[Tensor]:
        if attention.block_bias is None:
            return [x.new_zeros(())] * c
        return [attention.block_bias.table[distance_range(c - i), h] for i in range(c)]

    rows = []
    for t in range(L):
        start = blocks[own[t]][0]
        first = start + (t - start) // PATTERN["group"] * PATTERN["group"]
        shares = torch.zeros(own[t], dtype=x.dtype)
        for h in range(HEADS):
            logits = [
                q[h][first] @ key[h][i] / math.sqrt(width) + b
                for i, b in zip(range(own[t]), bias(h, own[t]), strict=True)
            ]
            if logits:
                shares = shares + torch.stack(logits).softmax(0)
        chosen = shares.argsort(descending=True, stable=True)[: PATTERN["selected"]].tolist()
        out = []
        for h in range(HEADS):
            window = range(max(0, t - PATTERN["window"] + 1), t + 1)
            selected = [s for c in chosen for s in blocks[c]] + list(range(start, t + 1))
            turned_query = turned(q[h][t], t)
            parts = {
                "window": attended(
                    turned_query, [turned(k[h][s], s) for s in window], [v[h][s] for s in window], None
                ),
                "block": attended(q[h][t], key[h][: own[t]], value[h][: own[t]], bias(h, own[t])),
                "selected": attended(
                    turned_query, [turned(k[h][s], s) for s in selected], [v[h][s] for s in selected], None
                ),
            }
            total = x.new_zeros(width)
            for n, name in enumerate(attention.branches):
                if attention.gate is None:
                    gate = torch.tensor(1 / len(attention.branches), dtype=x.dtype)
                else:
                    place = h * len(attention.branches) + n
                    gate = torch.sigmoid(attention.gate.weight[place] @ x[t] + attention.gate.bias[place])
                total = total + gate * parts[name]
            out.append(total)
        rows.append(attention.out.weight @ torch.cat(out) + attention.out.bias)
    return rows


def in_loops(attention: SparseAttention, x: Tensor, offsets: Tensor, blocks: Blocks | None = None) -> Tensor:
    rows = []
    for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        if begin == end:
            continue
        if blocks is None:
            borders = list(range(0, end - begin, BLOCK))
        else:
            borders = [s - begin for s in blocks.starts.tolist() if begin <= s < end]
        rows += one_history(attention, x[begin:end], borders)
    return torch.stack(rows)


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
@pytest.mark.parametrize("own_borders", [False, True], ids=["fixed", "own borders"])
def test_it_is_the_layer_in_loops_with_its_gradients(switches: dict[str, Any], own_borders: bool) -> None:
    attention, x = layer(**switches), events()
    blocks = bordered(x) if own_borders else None
    found, expected = attention(x, OFFSETS, blocks), in_loops(attention, x, OFFSETS, blocks)
    torch.testing.assert_close(found, expected)
    inputs = [x, *attention.parameters()]
    upstream = events(seed=2).detach()
    for one, other in zip(
        torch.autograd.grad(found, inputs, upstream),
        torch.autograd.grad(expected, inputs, upstream),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
        assert bool(one.any())


@pytest.mark.parametrize("own_borders", [False, True], ids=["fixed", "own borders"])
def test_in_single_precision_as_well(own_borders: bool) -> None:
    x = events().detach()
    blocks = bordered(x) if own_borders else None
    expected = layer()(x, OFFSETS, blocks)
    found = layer(dtype=torch.float32)(x.float(), OFFSETS, blocks)
    torch.testing.assert_close(found, expected.float(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
@pytest.mark.parametrize("own_borders", [False, True], ids=["fixed", "own borders"])
def test_changing_everything_from_an_event_on_changes_nothing_before_it(
    switches: dict[str, Any], own_borders: bool
) -> None:
    attention, x, other = layer(**switches), events().detach(), events(seed=3).detach()
    cuts = [40, *range(10, 30)]  # the first changes nothing
    changed = torch.cat([torch.cat((x[:t], other[t:])) for t in cuts])
    offsets = torch.arange(len(cuts) + 1) * 40
    out = attention(changed, offsets, bordered(changed, offsets) if own_borders else None)
    before, *after = out.split(40)
    for t, rows in zip(cuts[1:], after, strict=True):
        torch.testing.assert_close(rows[:t], before[:t], rtol=0, atol=1e-12)
        assert not torch.allclose(rows[t:], before[t:])


@pytest.mark.parametrize("own_borders", [False, True], ids=["fixed", "own borders"])
def test_a_history_has_the_rows_that_it_has_alone(own_borders: bool) -> None:
    attention, x = layer(learnt_pooling=True), events().detach()
    packed = attention(x, OFFSETS, bordered(x) if own_borders else None)
    for begin, end in zip(OFFSETS[:-1].tolist(), OFFSETS[1:].tolist(), strict=True):
        whole, part = torch.tensor([0, end - begin]), x[begin:end]
        alone = attention(part, whole, bordered(part, whole) if own_borders else None)
        torch.testing.assert_close(packed[begin:end], alone)


def test_fixed_blocks_that_are_given_are_the_default() -> None:
    attention, x = layer(), events().detach()
    blocks = Blocks.every(OFFSETS, block=BLOCK)
    torch.testing.assert_close(attention(x, OFFSETS, blocks), attention(x, OFFSETS), rtol=0, atol=0)
    general = dataclasses.replace(blocks, fixed=False)
    torch.testing.assert_close(attention(x, OFFSETS, general), attention(x, OFFSETS))


def test_at_first_learnt_pooling_is_the_mean() -> None:
    one, other = (
        SparseAttention(
            DIM, HEADS, **PATTERN, learnt_pooling=learnt, generator=torch.Generator().manual_seed(5)
        )
        for learnt in (False, True)
    )
    x = events().detach().float()
    torch.testing.assert_close(one(x, OFFSETS), other(x, OFFSETS))


def test_at_first_gates_favour_the_window() -> None:
    generator = torch.Generator().manual_seed(0)
    attention = SparseAttention(DIM, HEADS, **PATTERN, generator=generator)
    gates = attention.projected(torch.zeros(1, DIM), torch.zeros(1, dtype=torch.int64)).gates
    torch.testing.assert_close(
        gates[0], torch.tensor([0.7311, 0.2689, 0.2689]).expand(2, 3), rtol=0, atol=1e-4
    )


def test_nothing_gives_nothing() -> None:
    attention = layer()
    for offsets in (torch.tensor([0]), torch.tensor([0, 0])):
        assert attention(events(0), offsets).shape == (0, DIM)


def test_weights_come_from_the_generator_alone() -> None:
    state = torch.get_rng_state()
    torch.manual_seed(1)
    one = SparseAttention(DIM, HEADS, **PATTERN, generator=torch.Generator().manual_seed(0))
    drawn = torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), drawn)
    torch.manual_seed(2)
    other = SparseAttention(DIM, HEADS, **PATTERN, generator=torch.Generator().manual_seed(0))
    torch.set_rng_state(state)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"heads": 3}, "expected dim to be a multiple of twice the heads, got dim 8, heads 3"),
        ({"group": 3}, "group must divide block"),
        ({"branches": ()}, r"expected some of the branches window, block, selected, .* got \(\)"),
        ({"branches": ("block", "window")}, "each once and in this order"),
        ({"branches": ("window", "other")}, "expected some of the branches"),
        (
            {"learnt_pooling": True, "branches": ("window", "selected")},
            "learnt pooling learns by the block branch",
        ),
    ],
    ids=str,
)
def test_what_makes_no_layer_is_refused(numbers: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"heads": HEADS, **PATTERN, **numbers}
    with pytest.raises(ConfigError, match=message):
        SparseAttention(DIM, **arguments, generator=torch.Generator())


def test_blocks_of_another_size_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected blocks of at most 4 events, got of 8"):
        layer()(events(), OFFSETS, Blocks.every(OFFSETS, block=8))


def test_all_branches_stand_in_the_order_of_their_gates() -> None:
    assert ALL_BRANCHES == ("window", "block", "selected")
