"""Neighbours by cosine in plain float32, for graphs that are rebuilt again and again.

`fuserec.ops.knn` decides near-ties exactly, once a dataset. A learnt graph changes every epoch anyway: here the
float32 product decides, and the k best of each row are found in two stages.

Shape legend
    I  items   K  neighbours   B  rows of a block   G  groups   S  items of a group
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fuserec.batch import KnnGraph
from fuserec.shapes import Bool, Float

__all__ = ["float32_knn", "largest_columns"]

SCORES_IN_MEMORY = 2**24
"""Cosines held at a time: 64 MiB."""


def largest_columns(scores: Float[Tensor, "B I"], k: int, *, groups: int) -> tuple[Tensor, Tensor]:
    """The k largest values of every row and their columns, by way of group maxima.

    The k best entries of a row lie in the k groups with the largest maxima, so a full selection is needed over
    the G maxima and over k groups only. Column j belongs to group j mod G.

    Args:
        scores: (B, I) with I a multiple of ``groups``; no NaN.
        k: at most ``groups``.
        groups: G.

    Returns:
        (B, K) values, descending, and (B, K) columns.
    """
    scores_BSG = scores.view(len(scores), -1, groups)
    best_BK = scores_BSG.amax(1).topk(k, sorted=False).indices
    inside_BSK = scores_BSG.gather(2, best_BK[:, None].expand(-1, scores_BSG.shape[1], -1))
    values, place = inside_BSK.flatten(1).topk(k)
    return values, best_BK.gather(1, place % k) + place.div(k, rounding_mode="floor") * groups


def float32_knn(
    features: Float[Tensor, "I W"], present: Bool[Tensor, " I"], k: int, *, block: int | None = None
) -> KnnGraph:
    """The k most similar other items of every item by cosine, in memory O(I k + block I).

    Args:
        features: (I, W).
        present: (I,) items that have features. Others have no neighbours and are none.
        k: neighbours of an item.
        block: rows handled at a time; None takes as many as `SCORES_IN_MEMORY` allows.

    Returns:
        (I, k) neighbours without the item itself, best first; -1 and weight 0 where there are no more.

    Example:
        >>> graph = float32_knn(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]]), torch.ones(3) > 0, 1)
        >>> graph.neighbours[:2].tolist(), graph.weights.tolist()
        ([[1], [0]], [[1.0], [1.0], [0.0]])
    """
    num_items = len(present)
    block = block or max(1, SCORES_IN_MEMORY // max(1, num_items))
    groups = _groups(num_items, k)
    width = -(-num_items // groups) * groups
    unit = F.normalize(features, dim=1)
    transposed = F.pad(unit, (0, 0, 0, width - num_items)).T.contiguous()
    absent = torch.nonzero(~present).squeeze(1)
    space = unit.new_empty(min(block, num_items), width)
    weights, neighbours = [], []
    for start in range(0, num_items, block):
        rows = slice(start, min(start + block, num_items))
        scores = torch.mm(unit[rows], transposed, out=space[: rows.stop - start])
        scores[:, num_items:] = -torch.inf
        scores[:, absent] = -torch.inf
        scores.diagonal(start).fill_(-torch.inf)
        value, column = largest_columns(scores, k, groups=groups)
        found = (value > -torch.inf) & present[rows, None]
        weights.append(torch.where(found, value, 0.0))
        neighbours.append(torch.where(found, column, -1))
    return KnnGraph(neighbours=torch.cat(neighbours), weights=torch.cat(weights))


def _groups(num_items: int, k: int) -> int:
    """Groups of columns for `largest_columns`.

    The two selections look at G maxima and at k I / G scores, least near G = sqrt(k I); above 64 k torch selects by
    a heap, at half the time. Whole cache lines of 16 columns: a product with rows that begin inside one takes half as
    long again.
    """
    size_of_group = max(1, num_items // max(64 * k, math.isqrt(2 * k * num_items)))
    return 16 * math.ceil(max(k, num_items / size_of_group) / 16)
