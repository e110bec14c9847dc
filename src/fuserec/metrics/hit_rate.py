"""Hit rate: is there anything relevant among the first k.

Shape legend
    B  rankings (users)
"""

from __future__ import annotations

from torch import Tensor

from fuserec.metrics.ranked import RankedRelevance
from fuserec.shapes import Float

__all__ = ["hit_rate"]


def hit_rate(ranked: RankedRelevance, k: int) -> Float[Tensor, " B"]:
    """Probability that the first k ranks hold a relevant item (ir-measures' ``Success@k``).

    Where the cutoff takes m of a group of t items with r relevant ones, and nothing relevant is better,
    that is 1 - C(t - r, m) / C(t, m); it is computed as the sum over ranks of "the first one is here".

    Returns:
        (B,) float64, 0 to 1.

    Example:
        >>> import torch
        >>> hits = torch.tensor([[False, True, True]])
        >>> hit_rate(RankedRelevance.from_list(hits, torch.tensor([2])), 2)
        tensor([1.], dtype=torch.float64)
    """
    ranked.check_cutoff(k)
    return ranked.first_relevant[:, :k].sum(1)
