"""How many users two items share.

Shape legend
    E  user-item pairs   U  users   I  items   N  items of a block
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from fuserec.batch import Histories, Pairs
from fuserec.ops.sum_rows import SparseRows, sum_sparse_rows
from fuserec.shapes import Float

__all__ = ["cooccurrence_blocks", "cooccurrence_reference"]

COUNTS_IN_MEMORY = 2**22
"""Counts held at a time: 16 MiB of float32, whatever the size of the catalogue."""


def cooccurrence_blocks(
    pairs: Pairs, *, num_users: int, num_items: int
) -> Iterator[tuple[slice, Float[Tensor, "N I"]]]:
    """The rows of X^T X, X the binary user-item matrix, in blocks of items.

    A pair that stands twice counts once. On the diagonal stands the number of an item's users. Counts are exact
    up to 2**24 users an item.

    Yields:
        the item rows of the block, and their (N, I) counts, float32.
    """
    distinct = pairs.distinct(num_items=num_items)
    users_of_item = Histories.of(Pairs(users=distinct.items, items=distinct.users), num_users=num_items)
    items_of_user = SparseRows.from_entries(
        distinct.users, distinct.items, torch.ones(len(distinct)), shape=(num_users, num_items)
    )
    block = max(1, COUNTS_IN_MEMORY // max(1, num_items))
    for start in range(0, num_items, block):
        rows = slice(start, min(start + block, num_items))
        users = users_of_item.select(torch.arange(rows.start, rows.stop))
        yield rows, sum_sparse_rows(users, items_of_user, slice(0, num_items))


def cooccurrence_reference(pairs: Pairs, *, num_users: int, num_items: int) -> Float[Tensor, "I I"]:
    """`cooccurrence_blocks`, literally: the dense matrix X^T X."""
    interactions_UI = torch.zeros(num_users, num_items)
    interactions_UI[pairs.users, pairs.items] = 1
    return interactions_UI.T @ interactions_UI
