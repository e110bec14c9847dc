from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from fuserec.ops.attention import blockwise, selective
from fuserec.ops.blocks import Blocks
from fuserec.ops.bordered import bordered_blockwise, bordered_selective

H, D, BLOCK, GROUP = 2, 4, 4, 2
OFFSETS = torch.tensor([0, 13, 13, 14, 30])
BEGINS = torch.zeros(30, dtype=torch.bool)
BEGINS[[0, 3, 4, 8, 9, 11, 13, 14, 15, 19, 21, 24, 28]] = True
BORDERED = Blocks.at(BEGINS, OFFSETS, block=BLOCK)


def drawn(blocks: Blocks) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    events, C = (30, H, D), (len(blocks), H, D)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("q", "k", "v", "query"), events)
    shapes |= dict.fromkeys(("key", "value"), C) | {"bias": (H, blocks.longest)}
    return {
        name: torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()
        for name, shape in shapes.items()
    }


def by_blocks(x: dict[str, Tensor], blocks: Blocks) -> Tensor:
    return bordered_blockwise(
        x["query"], blocks, block_key=x["key"], block_value=x["value"], block_bias=x["bias"]
    )


def by_choice(x: dict[str, Tensor], blocks: Blocks, selected: int = 2) -> Tensor:
    return bordered_selective(
        x["q"],
        x["k"],
        x["v"],
        blocks,
        selected=selected,
        group=GROUP,
        block_query=x["query"],
        block_key=x["key"],
        block_bias=x["bias"],
    )


def earlier_blocks(t: int) -> list[int]:
    """Those of the event's history that come before its own, the nearest last."""
    history = int(torch.searchsorted(OFFSETS, t, right=True)) - 1
    return list(range(int(BORDERED.number[OFFSETS[history]]), int(BORDERED.number[t])))


def scores(x: dict[str, Tensor], t: int, h: int) -> Tensor:
    earlier = earlier_blocks(t)
    bias = [x["bias"][h, int(BORDERED.number[t]) - c - 1] for c in earlier]
    return torch.stack(
        [x["query"][t, h] @ x["key"][c, h] / math.sqrt(D) + b for c, b in zip(earlier, bias, strict=True)]
    )


def block_by_block(x: dict[str, Tensor]) -> Tensor:
    rows = []
    for t in range(30):
        for h in range(H):
            earlier = earlier_blocks(t)
            rows.append(
                scores(x, t, h).softmax(0) @ x["value"][earlier, h] if earlier else x["value"][0, h] * 0
            )
    return torch.stack(rows).view(30, H, D)


def event_by_event(x: dict[str, Tensor], selected: int) -> Tensor:
    number = BORDERED.number.tolist()
    rows = []
    for t in range(30):
        start = number.index(number[t])
        first = start + (t - start) // GROUP * GROUP
        earlier = earlier_blocks(first)
        chosen: list[int] = []
        if earlier:
            shares = torch.stack([scores(x, first, h).softmax(0) for h in range(H)]).sum(0)
            chosen = [earlier[i] for i in shares.argsort(descending=True, stable=True)[:selected].tolist()]
        seen = [s for s in range(30) if number[s] in chosen or (number[s] == number[t] and s <= t)]
        for h in range(H):
            weights = (x["k"][seen, h] @ x["q"][t, h] / math.sqrt(D)).softmax(0)
            rows.append(weights @ x["v"][seen, h])
    return torch.stack(rows).view(30, H, D)


def same(found: Tensor, expected: Tensor, x: dict[str, Tensor]) -> None:
    torch.testing.assert_close(found, expected)
    upstream = torch.randn(found.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pairs = [
        torch.autograd.grad(y, list(x.values()), upstream, allow_unused=True, materialize_grads=True)
        for y in (found, expected)
    ]
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one, other)


def test_blocks_of_any_length_are_seen_as_their_summaries() -> None:
    x = drawn(BORDERED)
    same(by_blocks(x, BORDERED), block_by_block(x), x)


@pytest.mark.parametrize("selected", [0, 1, 2, 20])
def test_blocks_of_any_length_are_seen_event_by_event(selected: int) -> None:
    x = drawn(BORDERED)
    same(by_choice(x, BORDERED, selected), event_by_event(x, selected), x)


def test_with_fixed_borders_it_is_the_attention_that_knows_no_others() -> None:
    blocks = dataclasses.replace(Blocks.every(OFFSETS, block=BLOCK), fixed=False)
    x = drawn(blocks)
    own: dict[str, Any] = {"block_key": x["key"], "block_bias": x["bias"], "offsets": OFFSETS, "block": BLOCK}
    same(by_blocks(x, blocks), blockwise(x["query"], x["k"], x["v"], block_value=x["value"], **own), x)
    expected = selective(x["q"], x["k"], x["v"], selected=2, group=GROUP, block_query=x["query"], **own)
    same(by_choice(x, blocks), expected, x)


def test_in_single_precision_as_well() -> None:
    x = drawn(BORDERED)
    single = {name: value.float() for name, value in x.items()}
    torch.testing.assert_close(by_blocks(single, BORDERED), by_blocks(x, BORDERED).float(), rtol=0, atol=1e-5)
    torch.testing.assert_close(by_choice(single, BORDERED), by_choice(x, BORDERED).float(), rtol=0, atol=1e-5)


def test_an_empty_slot_weighs_nothing_beside_the_smallest_of_products() -> None:
    x = {name: value.detach().clone() for name, value in drawn(BORDERED).items()}
    x["q"][:] = 200.0
    x["k"][:] = -200.0
    x["v"][:] = 1.0
    torch.testing.assert_close(by_choice(x, BORDERED), x["v"], rtol=0, atol=1e-12)
    assert bool((by_choice({n: y.float() for n, y in x.items()}, BORDERED) - 1).abs().max() < 1e-6)
