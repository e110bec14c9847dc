"""Whether an item is found from its title among items of other genres.

Shape legend
    I  items   D  width   G  genres   B  items of a block
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuserec.ops.fusion import unit_or_zero
from fuserec.shapes import Bool, Float

__all__ = ["title_retrieval"]

COSINES_IN_MEMORY = 2**22
"""Cosines held at a time: 32 MiB of float64."""


def title_retrieval(
    titles: Float[Tensor, "I D"],
    vectors: Float[Tensor, "I D"],
    genres: Bool[Tensor, "I G"],
    *,
    k: int = 1,
) -> float:
    """Share of the titles p_i for which f_i is among the k nearest, of f_i and all f_j without a genre in common.

    Negatives of the own genre are left out: what is asked is whether titles place an item across genres, not how
    finely one genre is told apart. A negative exactly as near counts as nearer, so a collapsed space finds nothing.

    Args:
        titles: (I, D) p, in the space of the vectors; a zero row does not ask.
        vectors: (I, D) f.
        genres: (I, G); an item without a genre has all others as negatives.
        k: at least 1.

    Returns:
        from 0 to 1; NaN where no title has a negative.

    Example:
        >>> genres = torch.eye(2) > 0
        >>> title_retrieval(torch.eye(2), torch.eye(2), genres), title_retrieval(torch.eye(2), torch.ones(2, 2), genres)
        (1.0, 0.0)
    """
    p, f = unit_or_zero(titles.double()), unit_or_zero(vectors.double())
    of_genre = genres.double()
    asked = found = 0
    for rows in torch.nonzero(p.any(1)).squeeze(1).split(max(1, COSINES_IN_MEMORY // max(1, len(f)))):
        cosine_BI = p[rows] @ f.T
        own_B1 = cosine_BI.gather(1, rows[:, None])
        negative_BI = (of_genre[rows] @ of_genre.T == 0).scatter(1, rows[:, None], False)  # noqa: FBT003
        nearer_B = ((cosine_BI >= own_B1) & negative_BI).sum(1)
        asks_B = negative_BI.any(1)
        asked += int(asks_B.sum())
        found += int((asks_B & (nearer_B < k)).sum())
    return found / asked if asked else float("nan")
