"""Precision: the share of the first k ranks that hold relevant items.

Shape legend
    B  rankings (users)
"""

from __future__ import annotations

from torch import Tensor

from fuserec.metrics.ranked import RankedRelevance
from fuserec.shapes import Float

__all__ = ["precision"]


def precision(ranked: RankedRelevance, k: int) -> Float[Tensor, " B"]:
    """Expected number of relevant items in the first k ranks, divided by k.

    The divisor is k even where there are fewer candidates (ir-measures' ``P@k``).

    Returns:
        (B,) float64, 0 to 1.

    Example:
        >>> import torch
        >>> hits = torch.tensor([[True, False, True, False]])
        >>> precision(RankedRelevance.from_list(hits, torch.tensor([2])), 4)
        tensor([0.5000], dtype=torch.float64)
    """
    ranked.check_cutoff(k)
    return ranked.expected_relevance[:, :k].sum(1) / k
