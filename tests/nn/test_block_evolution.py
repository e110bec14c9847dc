from __future__ import annotations

import math

import torch
from torch import Tensor

from fuserec.nn.block_evolution import BlockEvolution
from fuserec.ops.blocks import Blocks
from fuserec.ops.borders import content_borders

DIM, HEADS, BLOCK = 8, 2, 3
OFFSETS = torch.tensor([0, 11, 11, 12, 30])


def layer(seed: int = 0) -> BlockEvolution:
    generator = torch.Generator().manual_seed(seed)
    evolution = BlockEvolution(DIM, HEADS, generator=generator)
    with torch.no_grad():
        for parameter in evolution.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return evolution.double()


def events(count: int = 30, seed: int = 1) -> Tensor:
    return torch.randn(
        count, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    ).requires_grad_()


def bordered(x: Tensor) -> Blocks:
    return Blocks.at(content_borders(x, OFFSETS, threshold=0.0, block=BLOCK), OFFSETS, block=BLOCK)


def turned(x: Tensor, place: int) -> Tensor:
    half = len(x) // 2
    angles = torch.tensor([place * 10_000 ** (-p / half) for p in range(half)], dtype=x.dtype)
    turns = torch.polar(torch.ones_like(angles), angles)
    rotated = torch.complex(x[0::2], x[1::2]) * turns
    return torch.stack((rotated.real, rotated.imag), 1).flatten()


def in_loops(evolution: BlockEvolution, x: Tensor, blocks: Blocks) -> Tensor:
    """History after history, block after block: attention of a block's mean to those of all blocks so far."""
    number, attention, width = blocks.number.tolist(), evolution.attention, DIM // HEADS
    rows = []
    for begin, end in zip(OFFSETS[:-1].tolist(), OFFSETS[1:].tolist(), strict=True):
        members = [[t for t in range(begin, end) if number[t] == c] for c in sorted(set(number[begin:end]))]
        qkv = [
            (attention.qkv.weight @ x[part].mean(0) + attention.qkv.bias).view(3, HEADS, width)
            for part in members
        ]
        states = [x.new_zeros(DIM)]
        for c in range(len(members)):
            heads = []
            for h in range(HEADS):
                query = turned(qkv[c][0, h], c)
                logits = [query @ turned(qkv[i][1, h], i) / math.sqrt(width) for i in range(c + 1)]
                weights = torch.stack(logits).softmax(0)
                heads.append(weights @ torch.stack([qkv[i][2, h] for i in range(c + 1)]))
            states.append(attention.out.weight @ torch.cat(heads) + attention.out.bias)
        for t in range(begin, end):
            gate = torch.sigmoid(evolution.gate.weight[0] @ x[t] + evolution.gate.bias[0])
            rows.append(gate * states[number[t] - number[begin]])
    return torch.stack(rows)


def same_as_in_loops(blocks: Blocks) -> None:
    evolution, x = layer(), events()
    found, expected = evolution(x, blocks), in_loops(evolution, x, blocks)
    torch.testing.assert_close(found, expected)
    inputs = [x, *evolution.parameters()]
    upstream = events(seed=2).detach()
    pairs = [torch.autograd.grad(y, inputs, upstream) for y in (found, expected)]
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one, other)
        assert bool(one.any())


def test_blocks_attend_to_blocks_and_events_hear_the_last_that_ended() -> None:
    same_as_in_loops(Blocks.every(OFFSETS, block=BLOCK))


def test_blocks_with_borders_of_their_own_do_so_as_well() -> None:
    same_as_in_loops(bordered(events().detach()))


def test_an_event_hears_complete_blocks_alone() -> None:
    """Who hears whom, read from the gradients; the gate, which reads the event itself, is left out."""
    evolution, x = layer(), events(11)
    with torch.no_grad():
        evolution.gate.weight.zero_()
    whole = torch.tensor([0, 11])
    out = evolution(x, Blocks.every(whole, block=BLOCK))
    for t in range(11):
        (heard,) = torch.autograd.grad(out[t].sum(), x, retain_graph=True)
        assert heard.any(1).nonzero().flatten().tolist() == list(range(t // BLOCK * BLOCK))


def test_in_the_first_block_there_is_nothing_to_hear() -> None:
    out = layer()(events(), Blocks.every(OFFSETS, block=BLOCK))
    for begin in (0, 11, 12):
        assert not out[begin : min(begin + BLOCK, 12 if begin == 11 else 30)].any()
    assert bool(out[BLOCK:11].any(1).all())


def test_at_first_little_is_heard() -> None:
    evolution = BlockEvolution(DIM, HEADS, generator=torch.Generator().manual_seed(0))
    assert math.isclose(evolution.gate(torch.zeros(DIM)).sigmoid().item(), 0.0474, abs_tol=1e-4)
