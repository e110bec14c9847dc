"""Recall: the share of the relevant items that the first k ranks hold.

Shape legend
    B  rankings (users)
"""

from __future__ import annotations

from torch import Tensor

from fuserec.metrics.ranked import RankedRelevance
from fuserec.shapes import Float

__all__ = ["recall"]


def recall(ranked: RankedRelevance, k: int) -> Float[Tensor, " B"]:
    """Expected number of relevant items in the first k ranks, divided by all relevant items.

    The divisor is the number of relevant items even where it exceeds k (ir-measures' ``R@k``).

    Returns:
        (B,) float64, 0 to 1.

    Example:
        >>> import torch
        >>> hits = torch.tensor([[True, False, True]])
        >>> recall(RankedRelevance.from_list(hits, torch.tensor([4])), 3)
        tensor([0.5000], dtype=torch.float64)
    """
    ranked.check_cutoff(k)
    return ranked.expected_relevance[:, :k].sum(1) / ranked.num_relevant
