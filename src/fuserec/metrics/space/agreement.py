"""Whether two spaces call the same pairs of items alike.

Shape legend
    I  items   C, D  widths of the spaces   P  pairs of items
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuserec.ops.fusion import unit_or_zero
from fuserec.shapes import Float

__all__ = ["cosine_correlation", "cosine_rank_correlation", "pair_cosines"]


def cosine_correlation(one: Float[Tensor, "I C"], other: Float[Tensor, "I D"]) -> float:
    """Pearson's correlation, over all pairs of items, of the cosines in two spaces.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
        >>> round(cosine_correlation(x, 2 * x), 4)
        1.0
    """
    return _correlation(pair_cosines(one), pair_cosines(other))


def cosine_rank_correlation(one: Float[Tensor, "I C"], other: Float[Tensor, "I D"]) -> float:
    """Spearman's correlation of the same: of the ranks of the cosines, ties sharing their mean rank."""
    return _correlation(_ranks(pair_cosines(one)), _ranks(pair_cosines(other)))


def pair_cosines(vectors: Float[Tensor, "I D"]) -> Float[Tensor, " P"]:
    """(P,) float64 cosine of every pair of items i < j, 0 with a zero row."""
    unit = unit_or_zero(vectors.double())
    first, second = torch.triu_indices(len(unit), len(unit), 1).unbind()
    return (unit @ unit.T)[first, second]


def _ranks(values: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
    _, group, counts = torch.unique(values, return_inverse=True, return_counts=True)
    mean_rank: Tensor = counts.cumsum(0) - (counts.double() - 1) / 2
    return mean_rank[group]


def _correlation(x: Float[Tensor, " P"], y: Float[Tensor, " P"]) -> float:
    if len(x) == 0 or bool((x == x[0]).all()) or bool((y == y[0]).all()):
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    return float((x @ y) / (x.norm() * y.norm()))
