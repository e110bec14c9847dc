"""How far apart the genres lie.

Shape legend
    I  items   D  width   G  genres   H  genres that an item has
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuserec.ops.fusion import unit_or_zero
from fuserec.shapes import Bool, Float

__all__ = ["genre_distance"]


def genre_distance(vectors: Float[Tensor, "I D"], genres: Bool[Tensor, "I G"]) -> float:
    """Mean over pairs of genres of the distance between the means of their items, rows scaled to unit length.

    Args:
        vectors: (I, D).
        genres: (I, G) an item of several genres counts in each.

    Returns:
        from 0 to 2; NaN with fewer than two genres.

    Example:
        >>> round(genre_distance(torch.eye(2), torch.eye(2) > 0), 4)
        1.4142
    """
    of_genre_HI = genres.T[genres.any(0)].double()
    mean_HD = of_genre_HI @ unit_or_zero(vectors.double()) / of_genre_HI.sum(1, keepdim=True)
    return float(torch.pdist(mean_HD).mean())
