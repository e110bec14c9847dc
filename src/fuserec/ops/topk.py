"""The best k of long score rows that come in blocks of columns, exact, in memory that does not grow.

A score of -inf marks a column that is no candidate. `torch.topk` leaves open which of several equal
scores it keeps. That matters only at the border of the list, and there are two answers: `topk` lists
columns and gives ties to the lower one; `top_values` lists no columns and counts how many candidates tie
with the last value kept.

Shape legend
    B  rows   J  columns of a block   C  columns of all blocks   K  columns kept   M  at most K + 1
    T  rows with a tie at the border
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from fuserec.shapes import Float, Int

__all__ = ["top_values", "top_values_reference", "topk", "topk_reference"]


def topk_reference(scores: Float[Tensor, "B C"], k: int) -> tuple[Float[Tensor, "B K"], Int[Tensor, "B K"]]:
    """`topk` of one block by sorting every row in full.

    Example:
        >>> topk_reference(torch.tensor([[1.0, 3.0, 1.0, 3.0]]), 3)[1].tolist()
        [[1, 3, 0]]
    """
    values, columns = scores.sort(dim=1, descending=True, stable=True)
    return _listed(values[:, :k], columns[:, :k], k)


def topk(blocks: Iterable[Float[Tensor, "B _J"]], k: int) -> tuple[Float[Tensor, "B K"], Int[Tensor, "B K"]]:
    """The k best scores of every row and their columns; of equal scores the lower column comes first.

    Args:
        blocks: at least one block of the rows' columns, in order; columns are numbered across blocks.
        k: K, at least 1; may exceed the number of columns.

    Returns:
        (B, K) values, descending, -inf where candidates ran out, and (B, K) int64 columns, -1 there.

    Example:
        >>> topk([torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 3.0]])], 3)[1].tolist()
        [[1, 3, 0]]
    """
    best: tuple[Tensor, Tensor] | None = None
    start = 0
    for block in blocks:
        values, columns = _topk_of_block(block, k)
        found = values, columns + start
        best = found if best is None else _merged(best, found, k)
        start += block.shape[1]
    if best is None:
        raise ValueError("expected at least one block of scores, got none")
    return _listed(*best, k)


def top_values_reference(
    scores: Float[Tensor, "B C"], k: int
) -> tuple[Float[Tensor, "B K"], Int[Tensor, " B"]]:
    """`top_values` of one block by sorting and counting every row in full."""
    values, _ = topk_reference(scores, k)
    return values, (scores == values[:, -1:]).sum(1)


def top_values(
    blocks: Iterable[Float[Tensor, "B _J"]], k: int
) -> tuple[Float[Tensor, "B K"], Int[Tensor, " B"]]:
    """The k best scores of every row, and how many candidates share the last of them.

    Args:
        blocks: at least one block of the rows' columns.
        k: K, at least 1; may exceed the number of columns.

    Returns:
        (B, K) values, descending, -inf where candidates ran out, and (B,) the number of candidates of the
        whole row, kept or not, whose score is the last value (meaningless where that is -inf).

    Example:
        >>> values, ties = top_values([torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]])], 2)
        >>> values.tolist(), ties.tolist()
        ([[3.0, 1.0]], [3])
    """
    values: Tensor | None = None
    ties = torch.zeros(0, dtype=torch.int64)
    for block in blocks:
        # One more than needed: if it equals the last value kept, the tie goes on beyond the list.
        best = block.topk(min(k + 1, block.shape[1]), dim=1).values
        if values is None:
            merged, earlier = best[:, :k], torch.zeros(len(block), dtype=torch.int64, device=block.device)
        else:
            merged = torch.cat([values, best], dim=1)
            merged = merged.topk(min(k, merged.shape[1]), dim=1).values
            # Earlier blocks hold a new last value only within the list, all of whose ties are counted.
            last, same = merged[:, -1:], merged[:, -1] == values[:, -1]
            earlier = torch.where(same, ties, (values == last).sum(1))
        values = merged
        ties = earlier + _count(block, best, values[:, -1], k)
    if values is None:
        raise ValueError("expected at least one block of scores, got none")
    return F.pad(values, (0, k - values.shape[1]), value=-torch.inf), ties


def _count(
    block: Float[Tensor, "B J"], best: Float[Tensor, "B M"], value: Float[Tensor, " B"], k: int
) -> Int[Tensor, " B"]:
    """How often ``value``, which is not below the block's k-th best, stands in each row."""
    counts = (best == value[:, None]).sum(1)
    if best.shape[1] > k:
        # Only where the tie goes on beyond the best must the long row be read.
        beyond_T = ((best[:, k] == value) & (value > -torch.inf)).nonzero().squeeze(1)
        if len(beyond_T) > len(block) // 4:
            return (block == value[:, None]).sum(1)  # copying so many rows costs more than reading all
        counts[beyond_T] = (block[beyond_T] == value[beyond_T, None]).sum(1)
    return counts


def _topk_of_block(scores: Float[Tensor, "B J"], k: int) -> tuple[Float[Tensor, "B M"], Int[Tensor, "B M"]]:
    """Sort the columns of each tie; where one crosses the border, choose its lowest columns first."""
    values, columns = scores.topk(min(k + 1, scores.shape[1]), dim=1)
    if values.shape[1] > k:
        beyond_T = ((values[:, k] == values[:, k - 1]) & (values[:, k] > -torch.inf)).nonzero().squeeze(1)
        values, columns = values[:, :k], columns[:, :k].contiguous()
        if len(beyond_T) > 0:
            last_T1 = values[beyond_T, -1:]
            places_TK = values[beyond_T] == last_T1
            tied_TJ = scores[beyond_T] == last_T1
            lowest_TJ = tied_TJ & (tied_TJ.cumsum(dim=1, dtype=torch.int32) <= places_TK.sum(1, keepdim=True))
            chosen_TK = columns[beyond_T]
            chosen_TK[places_TK] = lowest_TJ.nonzero()[:, 1]
            columns[beyond_T] = chosen_TK
    columns, by_column = columns.sort(dim=1)
    values, by_value = values.gather(1, by_column).sort(dim=1, descending=True, stable=True)
    return values, columns.gather(1, by_value)


def _merged(
    earlier: tuple[Tensor, Tensor], later: tuple[Tensor, Tensor], k: int
) -> tuple[Float[Tensor, "B M"], Int[Tensor, "B M"]]:
    """Earlier columns stand first, so a stable sort keeps ties in the order of columns."""
    values = torch.cat([earlier[0], later[0]], dim=1)
    columns = torch.cat([earlier[1], later[1]], dim=1)
    values, order = values.sort(dim=1, descending=True, stable=True)
    return values[:, :k], columns.gather(1, order[:, :k])


def _listed(
    values: Float[Tensor, "B M"], columns: Int[Tensor, "B M"], k: int
) -> tuple[Float[Tensor, "B K"], Int[Tensor, "B K"]]:
    """Padded to k ranks, with -1 for the column where there is no candidate."""
    columns = columns.masked_fill(values == -torch.inf, -1)
    missing = k - values.shape[1]
    return F.pad(values, (0, missing), value=-torch.inf), F.pad(columns, (0, missing), value=-1)
