"""How evenly items lie on the sphere.

T. Wang, P. Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the
Hypersphere" (ICML 2020), arXiv 2005.10242, with their t = 2.

Shape legend
    B  items of a batch   D  width
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuserec.ops.fusion import unit_or_zero
from fuserec.shapes import Float, Int

__all__ = ["uniformity"]


def uniformity(vectors: Float[Tensor, "B D"], *, items: Int[Tensor, " B"]) -> Float[Tensor, ""]:
    """Log of the mean over pairs of distinct items of exp(-2 ||f_i - f_j||^2).

    Paper: MUFASA, docs/papers/mufasa.md Eq. (L4).

    Args:
        vectors: (B, D); rows are scaled to unit length here.
        items: (B,) item rows; an item that stands twice makes no pair with itself.

    Returns:
        () from 0, where all items lie in one place, down to -8, where there are two and they are opposite; 0 without a
        pair.

    Example:
        >>> round(float(uniformity(torch.eye(2), items=torch.arange(2))), 4)  # a right angle: exp(-2 * 2)
        -4.0
    """
    distinct = items[:, None] != items
    if not distinct.any():
        return vectors.sum() * 0.0
    unit = unit_or_zero(vectors)
    # ||f_i - f_j||^2 = 2 - 2 cos
    exponents = (4.0 * (unit @ unit.T) - 4.0).masked_fill(~distinct, -torch.inf)
    return torch.logsumexp(exponents.flatten(), 0) - distinct.sum().to(vectors.dtype).log()
