"""Softmax attention of tiles: a few neighbouring queries and the keys that they need, many tiles in one product.

The arithmetic that the branches of the blocked form share. Nothing but the inputs is kept for backward: a tile's weights
are made again. Tiles are views into whole histories wherever those lie at even steps, so nothing is copied.

Shape legend
    A  tiles   Q  queries of a tile   S  keys of a tile   D  width   repeat  queries after which what is hidden repeats
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from fuserec.shapes import Bool, Float

__all__ = ["MAX_SCORES", "attend", "attend_backward", "hidden_where_not", "spans", "tiles"]

MAX_SCORES = 1 << 17
"""Scores (queries times keys) made at once: with the tiles' keys and values they should stay in a core's cache.

Measured in docs/lab.md, "Sparse attention", as are the sizes of the branches' tiles.
"""


def tiles(
    x: Float[Tensor, "*rows D"], first: int, step: int, count: int, rows: int
) -> Float[Tensor, "A Q D"]:
    """Views of neighbouring rows.

    They may overlap: who writes takes steps of at least ``rows``.

    Args:
        x: contiguous.
        first: the row where the first tile begins.
        step: rows from the beginning of a tile to that of the next.
        count: A.
        rows: Q.
    """
    D = x.shape[-1]
    return x.as_strided((count, rows, D), (step * D, D, 1), x.storage_offset() + first * D)


def spans(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Where each span of at most ``size`` of ``count`` things begins, and how many it has."""
    size = max(size, 1)
    return ((first, min(size, count - first)) for first in range(0, count, size))


def hidden_where_not(visible: Bool[Tensor, "repeat S"], like: Tensor) -> Float[Tensor, "repeat S"]:
    """What to add to scores: 0 for a visible key, else minus infinity."""
    return torch.zeros(visible.shape, dtype=like.dtype, device=like.device).masked_fill_(~visible, -torch.inf)


def attend(
    q: Float[Tensor, "A Q D"],
    k: Float[Tensor, "A S D"],
    v: Float[Tensor, "A S D"],
    hidden: Float[Tensor, "*repeat S"],
) -> Float[Tensor, "A Q D"]:
    """Softmax attention; every query must see a key."""
    return torch.bmm(_weights(q, k, hidden), v)


def attend_backward(
    grad: Float[Tensor, "A Q D"],
    q: Float[Tensor, "A Q D"],
    k: Float[Tensor, "A S D"],
    v: Float[Tensor, "A S D"],
    hidden: Float[Tensor, "*repeat S"],
    gate: Float[Tensor, "A Q 1"],
) -> tuple[
    Float[Tensor, "A Q D"],
    Float[Tensor, "A S D"],
    Float[Tensor, "A S D"],
    Float[Tensor, "A Q 1"],
    Float[Tensor, "A Q S"],
]:
    """Gradients of ``gate * attend(...)`` for q, k, v and the gate, and those of the scores, yet to be gated."""
    weights_AQS = _weights(q, k, hidden)
    # the gate multiplies the D numbers of a row wherever it can, not its S scores
    grad_v = torch.bmm(weights_AQS.mT, grad * gate)
    grad_scores_AQS = torch.bmm(grad, v.mT)
    # output times upstream gradient, without the output
    grad_gate = (grad_scores_AQS * weights_AQS).sum(-1, keepdim=True)
    grad_scores_AQS.sub_(grad_gate).mul_(weights_AQS)
    scale = gate / math.sqrt(q.shape[-1])
    grad_q = torch.bmm(grad_scores_AQS, k).mul_(scale)
    grad_k = torch.bmm(grad_scores_AQS.mT, q * scale)
    return grad_q, grad_k, grad_v, grad_gate, grad_scores_AQS


def _weights(q: Tensor, k: Tensor, hidden: Tensor) -> Float[Tensor, "A Q S"]:
    scores_AQS = torch.bmm(q / math.sqrt(q.shape[-1]), k.mT)
    scores_AQS.view(-1, *hidden.shape).add_(hidden)
    return torch.softmax(scores_AQS, dim=-1, out=scores_AQS)
