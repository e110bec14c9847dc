"""The block-level branch of the blocked form: runs of whole blocks of queries, each with its prefix of summaries.

Shape legend
    N  histories times heads   H  heads   L  positions, whole blocks   C  blocks   D  width   M  distances
    R  blocks of a run   S  blocks before the last of them   l  positions of a block
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from fuserec.ops.attention.blocked.tiles import MAX_SCORES, attend, attend_backward, spans
from fuserec.ops.attention.visibility import in_earlier_block
from fuserec.shapes import Bool, Float, Int

__all__ = ["add_blockwise", "add_blockwise_backward"]

_MAX_BLOCKS = 16
"""Blocks of queries in a run: the more, the more summaries are scored that only its last queries see."""


def add_blockwise(
    out: Float[Tensor, "N L D"],
    query: Float[Tensor, "N L D"],
    key: Float[Tensor, "N C D"],
    value: Float[Tensor, "N C D"],
    bias: Float[Tensor, "H M"],
    gate: Float[Tensor, "N L 1"],
    *,
    block: int,
) -> None:
    """Add ``gate`` times the attention to the summaries of earlier blocks; nothing in the first block.

    Args:
        out: is added to; like all of these but bias, contiguous.
        query: (N, L, D).
        key: (N, C, D).
        value: (N, C, D).
        bias: (H, M) added to scores by distance in blocks less one; (1, M) for all heads.
        gate: (N, L, 1).
        block: events in a block.
    """
    for some, rows, seen, distance_RS, visible_RS in _runs(query, bias, block):
        added = _added(bias, distance_RS, visible_RS, block)
        o = attend(query[some, rows], key[some, seen], value[some, seen], added)
        out[some, rows].addcmul_(o, gate[some, rows])


def add_blockwise_backward(
    grad: Float[Tensor, "N L D"],
    query: Float[Tensor, "N L D"],
    key: Float[Tensor, "N C D"],
    value: Float[Tensor, "N C D"],
    bias: Float[Tensor, "H M"],
    gate: Float[Tensor, "N L 1"],
    into: tuple[
        Float[Tensor, "N L D"],
        Float[Tensor, "N C D"],
        Float[Tensor, "N C D"],
        Float[Tensor, "H M"] | None,
        Float[Tensor, "N L 1"],
    ],
    *,
    block: int,
) -> None:
    """Add the gradients of what `add_blockwise` adds to those of query, key, value, bias (if wanted) and gate."""
    into_query, into_key, into_value, into_bias, into_gate = into
    for some, rows, seen, distance_RS, visible_RS in _runs(query, bias, block):
        grad_query, grad_key, grad_value, grad_gate, grad_scores_AQS = attend_backward(
            grad[some, rows],
            query[some, rows],
            key[some, seen],
            value[some, seen],
            _added(bias, distance_RS, visible_RS, block),
            gate[some, rows],
        )
        into_query[some, rows].add_(grad_query)
        into_key[some, seen].add_(grad_key)
        into_value[some, seen].add_(grad_value)
        into_gate[some, rows].add_(grad_gate)
        if into_bias is not None:
            H, (R, S) = len(into_bias), distance_RS.shape
            gated = gate[some, rows].reshape(-1, 1, block) @ grad_scores_AQS.view(-1, block, S)
            by_distance = gated.view(-1, H, R * S).sum(0)
            into_bias.scatter_add_(1, distance_RS.view(1, -1).expand(H, -1), by_distance)


def _runs(
    query: Float[Tensor, "N L D"], bias: Float[Tensor, "H M"], block: int
) -> Iterator[tuple[slice, slice, slice, Int[Tensor, "R S"], Bool[Tensor, "R S"]]]:
    """Histories, their queries, the summaries that one of these sees, how far back they are less one, and who sees them.

    A run has all heads of a history, and of several where their scores fit.
    """
    N, L, _ = query.shape
    H, C = len(bias), L // block
    first = 1
    while first < C:
        stop = min(first + max(min(MAX_SCORES // (H * block * first), _MAX_BLOCKS), 1), C)
        first_R1 = torch.arange(first * block, stop * block, block, device=query.device)[:, None]
        pooled_S = torch.arange(stop - 1, device=query.device)
        distance_RS = (first_R1 // block - 1 - pooled_S).clamp(min=0)
        visible_RS = in_earlier_block(first_R1, pooled_S, block)
        for start, count in spans(N // H, MAX_SCORES // (H * block * (stop - first) * (stop - 1))):
            some, rows = slice(start * H, (start + count) * H), slice(first * block, stop * block)
            yield some, rows, slice(stop - 1), distance_RS, visible_RS
        first = stop


def _added(
    bias: Float[Tensor, "H M"], distance_RS: Int[Tensor, "R S"], visible_RS: Bool[Tensor, "R S"], block: int
) -> Float[Tensor, "H R l S"]:
    """The bias of every summary that is seen, minus infinity for one that is not."""
    added_HRS = bias[:, distance_RS].masked_fill_(~visible_RS, -torch.inf)
    return added_HRS[:, :, None].expand(-1, -1, block, -1)
