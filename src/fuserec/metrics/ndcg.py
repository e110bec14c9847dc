"""Normalized discounted cumulative gain with binary relevance.

Shape legend
    B  rankings (users)   K  ranks
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuserec.errors import ConfigError
from fuserec.metrics.ranked import RankedRelevance
from fuserec.shapes import Float

__all__ = ["ndcg", "ndcg_of_retrieved"]


def ndcg(ranked: RankedRelevance, k: int) -> Float[Tensor, " B"]:
    """Expected discounted gain of the first k ranks over that of the best ranking there can be.

    Rank p is discounted by log2(p + 1). The ideal has min(relevant items, k) ones at the top, whether
    they were retrieved or not (ir-measures' ``nDCG@k``).

    Returns:
        (B,) float64, 0 to 1.

    Example:
        >>> import torch
        >>> hits = torch.tensor([[False, False, True]])
        >>> ndcg(RankedRelevance.from_list(hits, torch.tensor([1])), 3)
        tensor([0.5000], dtype=torch.float64)
    """
    ranked.check_cutoff(k)
    discount_K = 1 / torch.log2(ranked.ranks[:k] + 1)
    ideal_K = discount_K.cumsum(0)
    return ranked.expected_relevance[:, :k] @ discount_K / ideal_K[ranked.num_relevant.clamp(max=k) - 1]


def ndcg_of_retrieved(ranked: RankedRelevance, k: int, *, depth: int) -> Float[Tensor, " B"]:
    """LATTICE's variant: the ideal sorts what was retrieved, so what was missed costs nothing.

    It is no measure of quality: a ranking that finds one of ten relevant items at rank 1 gets 1. It is
    here to compare with numbers published that way.

    Args:
        ranked: rankings without ties.
        k: cutoff.
        depth: length of the retrieved list, from k up; LATTICE's is its largest cutoff, 20.

    Returns:
        (B,) float64, 0 to 1; 0 where nothing relevant was retrieved.

    Raises:
        ConfigError: the list is shorter than k or longer than what was ranked, or the rankings hold ties.

    Example:
        >>> import torch
        >>> hits = torch.tensor([[True, False, False]])
        >>> ndcg_of_retrieved(RankedRelevance.from_list(hits, torch.tensor([10])), 3, depth=3)
        tensor([1.], dtype=torch.float64)
    """
    ranked.check_cutoff(k)
    if not k <= depth <= ranked.depth:
        raise ConfigError(f"expected a retrieved list of {k} to {ranked.depth} items, got {depth}")
    if (ranked.group_size[:, :depth] != 1).any():
        raise ConfigError("expected rankings without ties for the ideal 'retrieved'; use ties='order'")
    discount_K = 1 / torch.log2(ranked.ranks[:k] + 1)
    ideal_K = torch.cat([torch.ones(1, dtype=torch.float64), discount_K.cumsum(0)])
    retrieved_B = ranked.group_relevant[:, :depth].sum(1).clamp(max=k)
    ideal_B = torch.where(retrieved_B > 0, ideal_K[retrieved_B], 1.0)
    return ranked.expected_relevance[:, :k] @ discount_K / ideal_B
