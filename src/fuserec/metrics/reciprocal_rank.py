"""Reciprocal rank; its mean over users is MRR.

Shape legend
    B  rankings (users)
"""

from __future__ import annotations

from torch import Tensor

from fuserec.metrics.ranked import RankedRelevance
from fuserec.shapes import Float

__all__ = ["reciprocal_rank"]


def reciprocal_rank(ranked: RankedRelevance, k: int) -> Float[Tensor, " B"]:
    """Expected 1 / rank of the first relevant item; 0 if it is not among the first k (``RR@k``).

    Returns:
        (B,) float64, 0 to 1.

    Example:
        >>> import torch
        >>> hits = torch.tensor([[False, True, True]])
        >>> reciprocal_rank(RankedRelevance.from_list(hits, torch.tensor([2])), 3)
        tensor([0.5000], dtype=torch.float64)
    """
    ranked.check_cutoff(k)
    return ranked.first_relevant[:, :k] @ (1 / ranked.ranks[:k])
