"""Who sees what: the rule of each branch as one predicate over positions.

Positions count from 0 at the start of a history; blocks and groups are runs of positions. The predicates broadcast: the
literal form asks for all pairs at once, the blocked one for a tile. ``step`` and the native form follow the same rules by
slices and counts of their own; tests hold them to the literal form.

Source: MUFASA (arXiv 2508.09664), sparse attention-guided alignment; rules as docs/papers/mufasa.md states them.
"""

from __future__ import annotations

from torch import Tensor

from fuserec.shapes import Bool, Int

__all__ = ["in_earlier_block", "in_own_block", "in_window", "num_blocks"]


def in_window(
    query: Int[Tensor, "*queries"], key: Int[Tensor, "*keys"], window: int
) -> Bool[Tensor, "*pairs"]:
    """The query sees the key: it is one of the last ``window`` events, the query's own included.

    Example:
        >>> import torch
        >>> in_window(torch.tensor(5), torch.arange(8), 3).long().tolist()
        [0, 0, 0, 1, 1, 1, 0, 0]
    """
    return (key <= query) & (key > query - window)


def in_earlier_block(
    query: Int[Tensor, "*queries"], pooled: Int[Tensor, "*blocks"], block: int
) -> Bool[Tensor, "*pairs"]:
    """The query sees the pooled block: it ended before the query's own block began.

    Example:
        >>> import torch
        >>> in_earlier_block(torch.tensor([3, 4, 9]), torch.tensor(0), 4).tolist()
        [False, True, True]
    """
    return pooled < query // block


def in_own_block(
    query: Int[Tensor, "*queries"], key: Int[Tensor, "*keys"], block: int
) -> Bool[Tensor, "*pairs"]:
    """The query sees the key in the block that both are in.

    Example:
        >>> import torch
        >>> in_own_block(torch.tensor(5), torch.arange(8), 4).long().tolist()
        [0, 0, 0, 0, 1, 1, 0, 0]
    """
    return (key <= query) & (key // block == query // block)


def num_blocks(length: int, block: int) -> int:
    """Blocks that a history of that length has begun.

    Example:
        >>> num_blocks(0, 4), num_blocks(4, 4), num_blocks(5, 4)
        (0, 1, 2)
    """
    return -(-length // block)
