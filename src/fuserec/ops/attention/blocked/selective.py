"""The selective branch of the blocked form: each group's chosen blocks and its own, gathered side by side.

The first blocks have no more blocks before them than may be chosen, so they see everything up to themselves: that is the
windowed branch with a window that reaches to the start.

Shape legend
    B  histories   N  histories times heads   L  positions, whole blocks   G  groups   X  choices   D  width   C  blocks
    A  groups of a run, each a tile   Y  their chosen blocks and the own   S  positions of these   l  positions of a block
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from fuserec.ops.attention.blocked.tiles import (
    MAX_SCORES,
    attend,
    attend_backward,
    hidden_where_not,
    spans,
    tiles,
)
from fuserec.ops.attention.blocked.windowed import add_windowed, add_windowed_backward
from fuserec.ops.attention.visibility import in_own_block
from fuserec.shapes import Float, Int

__all__ = ["add_selective", "add_selective_backward"]


def add_selective(
    out: Float[Tensor, "N L D"],
    q: Float[Tensor, "N L D"],
    k: Float[Tensor, "N L D"],
    v: Float[Tensor, "N L D"],
    gate: Float[Tensor, "N L 1"],
    choice_BGX: Int[Tensor, "B G X"],
    *,
    block: int,
    selected: int,
    group: int,
) -> None:
    """Add ``gate`` times the attention to the events of the chosen blocks, and of the own one up to the query.

    Args:
        out: is added to; like all of these, contiguous.
        q: (N, L, D).
        k: (N, L, D).
        v: (N, L, D).
        gate: (N, L, 1).
        choice_BGX: the blocks that each group chose; -1 for none.
        block: events in a block.
        selected: blocks that a group chooses where there are as many.
        group: queries that share a choice.
    """
    until = _everything_until(q, block, selected)
    add_windowed(out, q, k, v, gate, until, rows=block, until=until)
    hidden = _hidden(q, block, selected)
    k_blocks, v_blocks = _blocks(k, block), _blocks(v, block)
    for at, seen_AY in _runs(q, choice_BGX, block, selected, group):
        o = attend(tiles(q, *at), _gathered(k_blocks, seen_AY, q), _gathered(v_blocks, seen_AY, q), hidden)
        tiles(out, *at).addcmul_(o, tiles(gate, *at))


def add_selective_backward(
    grad: Float[Tensor, "N L D"],
    q: Float[Tensor, "N L D"],
    k: Float[Tensor, "N L D"],
    v: Float[Tensor, "N L D"],
    gate: Float[Tensor, "N L 1"],
    choice_BGX: Int[Tensor, "B G X"],
    into: tuple[
        Float[Tensor, "N L D"], Float[Tensor, "N L D"], Float[Tensor, "N L D"], Float[Tensor, "N L 1"]
    ],
    *,
    block: int,
    selected: int,
    group: int,
) -> None:
    """Add the gradients of what `add_selective` adds to those of q, k, v and gate, which ``into`` holds."""
    until = _everything_until(q, block, selected)
    add_windowed_backward(grad, q, k, v, gate, into, until, rows=block, until=until)
    into_q, into_k, into_v, into_gate = into
    hidden = _hidden(q, block, selected)
    k_blocks, v_blocks = _blocks(k, block), _blocks(v, block)
    into_k_blocks, into_v_blocks = _blocks(into_k, block), _blocks(into_v, block)
    for at, seen_AY in _runs(q, choice_BGX, block, selected, group):
        grad_q, grad_k, grad_v, grad_gate, _ = attend_backward(
            tiles(grad, *at),
            tiles(q, *at),
            _gathered(k_blocks, seen_AY, q),
            _gathered(v_blocks, seen_AY, q),
            hidden,
            tiles(gate, *at),
        )
        tiles(into_q, *at).add_(grad_q)
        tiles(into_gate, *at).add_(grad_gate)
        into_k_blocks.index_add_(0, seen_AY.view(-1), grad_k.view(-1, k_blocks.shape[1]))
        into_v_blocks.index_add_(0, seen_AY.view(-1), grad_v.view(-1, v_blocks.shape[1]))


def _everything_until(q: Float[Tensor, "N L D"], block: int, selected: int) -> int:
    """The first position that does not see everything before it."""
    return min((selected + 1) * block, q.shape[1])


def _runs(
    q: Float[Tensor, "N L D"], choice_BGX: Int[Tensor, "B G X"], block: int, selected: int, group: int
) -> Iterator[tuple[tuple[int, int, int, int], Int[Tensor, "A Y"]]]:
    """Groups with as many choices as there may be, as tiles, and the blocks that they see, their own last."""
    N, L, D = q.shape
    H, C = N // max(len(choice_BGX), 1), L // block
    # small groups gather more numbers than they make scores
    blocks_at_once = MAX_SCORES // (block * (selected + 1) * max(block, block // group * D))
    own_G1 = torch.arange(C, device=q.device).repeat_interleave(block // group)[:, None]
    for n in range(N):
        for start, count in spans(C - selected - 1, blocks_at_once):
            first = (selected + 1 + start) * block
            some = slice(first // group, (first + count * block) // group)
            # all have their choices, except where scores are not numbers: those fall to the first block
            chosen_AX = choice_BGX[n // H, some].clamp(min=0)
            seen_AY = torch.cat((chosen_AX, own_G1[some]), 1) + n * C
            yield (n * L + first, group, len(seen_AY), group), seen_AY


def _blocks(x: Float[Tensor, "N L D"], block: int) -> Float[Tensor, "NC lD"]:
    """Every block as one row."""
    return x.view(-1, block * x.shape[2])


def _gathered(
    blocks: Float[Tensor, "NC lD"], seen_AY: Int[Tensor, "A Y"], like: Tensor
) -> Float[Tensor, "A S D"]:
    return blocks.index_select(0, seen_AY.view(-1)).view(len(seen_AY), -1, like.shape[2])


def _hidden(q: Tensor, block: int, selected: int) -> Float[Tensor, "l S"]:
    """The chosen blocks are seen whole; of the own one, which stands last, what is not later."""
    query = torch.arange(block, device=q.device)[:, None]
    key = torch.arange(-selected * block, block, device=q.device)
    return hidden_where_not((key < 0) | in_own_block(query, key, block), q)
