"""How evenly all items lie on the sphere.

T. Wang, P. Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the
Hypersphere" (ICML 2020); of all items what `fuserec.losses.uniformity` is of a batch.

Shape legend
    I  items   D  width
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuserec.metrics.space.agreement import pair_cosines
from fuserec.shapes import Float

__all__ = ["uniformity"]


def uniformity(vectors: Float[Tensor, "I D"]) -> float:
    """Log of the mean over pairs of items of exp(-2 ||f_i - f_j||^2), rows scaled to unit length.

    Returns:
        from 0, all items in one place, downwards; NaN without a pair.

    Example:
        >>> round(uniformity(torch.eye(2)), 4)
        -4.0
    """
    return float(torch.exp(4.0 * pair_cosines(vectors) - 4.0).mean().log())
