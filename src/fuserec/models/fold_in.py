"""Who asks, as a vector: the trained row, or for somebody new what the items of the history add up to.

Paper: TMFUN, part 2, "New users": z_u = sum over the distinct items of the history of fold_i / sqrt(their number).

Shape legend
    U  trained users   I  items   D  width   B  queries   T  entries of all histories
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fuserec.batch import Histories, Queries
from fuserec.shapes import Bool, Float, Int

__all__ = ["fold_in", "user_vectors"]


def user_vectors(
    queries: Queries,
    *,
    user: Float[Tensor, "U D"],
    fold: Float[Tensor, "I D"],
    foldable: Bool[Tensor, " I"],
    mean_fold: Float[Tensor, "I D"] | None = None,
) -> Float[Tensor, "B D"]:
    """(B, D): the trained row, or by fold-in for rows of -1.

    Args:
        queries: B who ask.
        user: (U, D) vectors of the users seen in training.
        fold: see `fold_in`.
        foldable: see `fold_in`.
        mean_fold: see `fold_in`.
    """
    vectors = F.embedding(queries.users.clamp_min(0), user)
    unseen = queries.users < 0
    if unseen.any():
        rows = torch.nonzero(unseen).squeeze(1)
        folded = fold_in(queries.histories.select(rows), fold=fold, foldable=foldable, mean_fold=mean_fold)
        vectors = vectors.index_copy(0, rows, folded)
    return vectors


def fold_in(
    histories: Histories,
    *,
    fold: Float[Tensor, "I D"],
    foldable: Bool[Tensor, " I"],
    mean_fold: Float[Tensor, "I D"] | None = None,
) -> Float[Tensor, "B D"]:
    """(B, D) vectors of users known by their histories alone; zero for an empty one.

    Args:
        histories: B of them; an item that stands twice in one counts once.
        fold: (I, D) what an item contributes, before the division by the root of the number of items.
        foldable: (I,) items that contribute at all.
        mean_fold: (I, D) what an item contributes to a mean over the history, which is added.
    """
    histories = histories.distinct(num_items=len(fold))
    rows, items = histories.rows(), histories.items
    used = foldable[items]
    rows, items = rows[used], items[used]
    count = torch.bincount(rows, minlength=len(histories)).clamp_min(1)
    vectors = _sums(fold[items], rows, len(histories)) / count.sqrt()[:, None]
    if mean_fold is not None:
        vectors += _sums(mean_fold[items], rows, len(histories)) / count[:, None]
    return vectors


def _sums(x: Float[Tensor, "T D"], rows: Int[Tensor, " T"], num_rows: int) -> Float[Tensor, "N D"]:
    """(N, D) sum of the rows of x that belong to each row."""
    return x.new_zeros(num_rows, x.shape[1]).index_add(0, rows, x)
