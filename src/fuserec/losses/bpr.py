"""Bayesian personalised ranking.

Shape legend
    B  pairs
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from fuserec.shapes import Float

__all__ = ["bpr"]


def bpr(positive: Float[Tensor, " B"], negative: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """Mean of -log sigmoid(positive - negative).

    Paper: TMFUN Eq. (10); Rendle et al., UAI 2009.

    Args:
        positive: (B,) scores of observed items.
        negative: (B,) scores of sampled items.

    Returns:
        () the mean loss, in nats.

    Example:
        >>> import torch
        >>> round(float(bpr(torch.zeros(2), torch.zeros(2))), 4)
        0.6931
    """
    return F.softplus(negative - positive).mean()
