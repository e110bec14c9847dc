"""Average precision; its mean over users is MAP.

Shape legend
    B  rankings (users)   K  ranks
"""

from __future__ import annotations

from torch import Tensor

from fuserec.metrics.ranked import RankedRelevance
from fuserec.shapes import Float

__all__ = ["average_precision", "average_precision_capped"]


def average_precision(ranked: RankedRelevance, k: int) -> Float[Tensor, " B"]:
    """Expected sum, over the first k ranks, of the precision at each relevant item; over all relevant items.

    The divisor is the number of relevant items even where it exceeds k (trec_eval's ``map_cut``,
    ir-measures' ``AP@k``), so a user with more than k relevant items cannot reach 1.

    Returns:
        (B,) float64, 0 to 1.

    Example:
        >>> import torch
        >>> hits = torch.tensor([[True, False, False, True]])
        >>> average_precision(RankedRelevance.from_list(hits, torch.tensor([2])), 4)
        tensor([0.7500], dtype=torch.float64)
    """
    return _sum_of_precisions(ranked, k) / ranked.num_relevant


def average_precision_capped(ranked: RankedRelevance, k: int) -> Float[Tensor, " B"]:
    """MMRec's variant of `average_precision`: the divisor is at most k.

    Returns:
        (B,) float64, 0 to 1.

    Example:
        >>> import torch
        >>> hits = torch.tensor([[True, False]])
        >>> average_precision_capped(RankedRelevance.from_list(hits, torch.tensor([5])), 2)
        tensor([0.5000], dtype=torch.float64)
    """
    return _sum_of_precisions(ranked, k) / ranked.num_relevant.clamp(max=k)


def _sum_of_precisions(ranked: RankedRelevance, k: int) -> Float[Tensor, " B"]:
    """E[sum over p <= k of rel_p * (relevant at ranks 1..p) / p].

    In a group of t items, r of them relevant, that starts after a relevant ones: its j-th rank is
    relevant with probability r / t, and then each of the j - 1 above it in the group is relevant with
    probability (r - 1) / (t - 1).
    """
    ranked.check_cutoff(k)
    size_BK, relevant_BK = ranked.group_size[:, :k], ranked.group_relevant[:, :k]
    above_BK = ranked.ranks[:k] - 1 - ranked.group_start[:, :k]
    found_BK = above_BK * (relevant_BK - 1) / (size_BK - 1).clamp_(min=1)
    found_BK += ranked.relevant_before[:, :k] + 1
    found_BK *= ranked.expected_relevance[:, :k]
    return found_BK @ (1 / ranked.ranks[:k])
