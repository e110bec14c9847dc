"""Softmax attention of tiles: a few neighbouring queries and the keys that they need, many tiles in one product.

The arithmetic that the branches of the blocked form share. Nothing but the inputs is kept for backward: a tile's weights
are made again. Tiles are views into whole histories wherever those lie at even steps, so nothing is copied.

Shape legend
    T  tiles   M  queries of a tile   S  keys of a tile   R  queries after which what is hidden repeats   D  width
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from fuserec.shapes import Bool, Float

__all__ = ["MAX_SCORES", "attend", "attend_backward", "hidden_where_not", "spans", "tiles"]

MAX_SCORES = 1 << 17
"""Scores (queries times keys) made at once: with the tiles' keys and values they should stay in a core's cache."""


def tiles(
    x: Float[Tensor, "*rows D"], first: int, step: int, count: int, rows: int
) -> Float[Tensor, "T M D"]:
    """Views of neighbouring rows.

    They may overlap: who writes takes steps of at least ``rows``.

    Args:
        x: contiguous.
        first: the row where the first tile begins.
        step: rows from the beginning of a tile to that of the next.
        count: T.
        rows: M.
    """
    D = x.shape[-1]
    return x.as_strided((count, rows, D), (step * D, D, 1), x.storage_offset() + first * D)


def spans(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Where each span of at most ``size`` of ``count`` things begins, and how many it has."""
    size = max(size, 1)
    return ((first, min(size, count - first)) for first in range(0, count, size))


def hidden_where_not(visible: Bool[Tensor, "R S"], like: Tensor) -> Float[Tensor, "R S"]:
    """What to add to scores: 0 for a visible key, else minus infinity."""
    return torch.zeros(visible.shape, dtype=like.dtype, device=like.device).masked_fill_(~visible, -torch.inf)


def attend(
    q: Float[Tensor, "T M D"],
    k: Float[Tensor, "T S D"],
    v: Float[Tensor, "T S D"],
    hidden: Float[Tensor, "*R S"],
) -> Float[Tensor, "T M D"]:
    """Softmax attention; every query must see a key."""
    return torch.bmm(_weights(q, k, hidden), v)


def attend_backward(
    grad: Float[Tensor, "T M D"],
    q: Float[Tensor, "T M D"],
    k: Float[Tensor, "T S D"],
    v: Float[Tensor, "T S D"],
    hidden: Float[Tensor, "*R S"],
    gate: Float[Tensor, "T M 1"],
) -> tuple[
    Float[Tensor, "T M D"],
    Float[Tensor, "T S D"],
    Float[Tensor, "T S D"],
    Float[Tensor, "T M 1"],
    Float[Tensor, "T M S"],
]:
    """Gradients of ``gate * attend(...)`` for q, k, v and the gate, and those of the scores, yet to be gated."""
    weights_TMS = _weights(q, k, hidden)
    # the gate multiplies the D numbers of a row wherever it can, not its S scores
    grad_v = torch.bmm(weights_TMS.mT, grad * gate)
    grad_scores_TMS = torch.bmm(grad, v.mT)
    # output times upstream gradient, without the output
    grad_gate = (grad_scores_TMS * weights_TMS).sum(-1, keepdim=True)
    grad_scores_TMS.sub_(grad_gate).mul_(weights_TMS)
    scale = gate / math.sqrt(q.shape[-1])
    grad_q = torch.bmm(grad_scores_TMS, k).mul_(scale)
    grad_k = torch.bmm(grad_scores_TMS.mT, q * scale)
    return grad_q, grad_k, grad_v, grad_gate, grad_scores_TMS


def _weights(q: Tensor, k: Tensor, hidden: Tensor) -> Float[Tensor, "T M S"]:
    scores_TMS = torch.bmm(q / math.sqrt(q.shape[-1]), k.mT)
    scores_TMS.view(-1, *hidden.shape).add_(hidden)
    return torch.softmax(scores_TMS, dim=-1, out=scores_TMS)
