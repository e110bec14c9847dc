"""How many directions a space uses.

O. Roy, M. Vetterli, "The Effective Rank: A Measure of Effective Dimensionality" (EUSIPCO 2007).

Shape legend
    I  items   D  width
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuserec.shapes import Float

__all__ = ["effective_rank"]


def effective_rank(vectors: Float[Tensor, "I D"]) -> float:
    """Exp of the entropy of the singular values, scaled to sum to 1.

    Returns:
        from 1, all items on one line, to the smaller of I and D; NaN where all is zero.

    Example:
        >>> round(effective_rank(torch.eye(3)), 4), round(effective_rank(torch.ones(5, 3)), 4)
        (3.0, 1.0)
    """
    values = torch.linalg.svdvals(vectors.double())
    if not values.any():
        return float("nan")
    share = values / values.sum()
    return float(torch.special.entr(share).sum().exp())
