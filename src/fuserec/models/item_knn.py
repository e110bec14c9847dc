"""ItemKNN: items that the same users chose, by cosine with shrinkage.

The shrinkage is the one of Bell and Koren, "Scalable collaborative filtering with jointly derived neighborhood
interpolation weights" (ICDM 2007), added to the cosine's denominator as is usual for implicit feedback. All items that
share a user are neighbours; there is no k to choose.

Shape legend
    I  items   E  pairs of items with a common user
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fuserec.batch import Corpus
from fuserec.errors import ConfigError
from fuserec.models.item_to_item import ItemToItem
from fuserec.ops.cooccurrence import cooccurrence_blocks
from fuserec.ops.sum_rows import SparseRows

__all__ = ["ItemKnn", "ItemKnnConfig", "shrunk_cosine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemKnnConfig:
    """Options of ItemKNN."""

    shrinkage: float = 200.0
    """Added to the cosine's denominator, at least 0; larger trusts pairs with few common users less. The default is
    validation's choice on Amazon Baby (docs/lab.md)."""

    def __post_init__(self) -> None:
        """Check the range."""
        if not self.shrinkage >= 0:
            raise ConfigError(f"expected shrinkage of at least 0, got {self.shrinkage}")


class ItemKnn:
    """score of j = sum over i in the history of c_ij / (sqrt(n_i n_j) + shrinkage)."""

    def __init__(self, config: ItemKnnConfig) -> None:
        self.config = config

    def fit(self, corpus: Corpus) -> ItemToItem:
        """Weigh all pairs of items with a common user."""
        return ItemToItem(shrunk_cosine(corpus, self.config.shrinkage))


def shrunk_cosine(corpus: Corpus, shrinkage: float) -> SparseRows:
    """(I, I) c_ij / (sqrt(n_i n_j) + shrinkage) off the diagonal, sparse.

    c_ij is the number of users who have both items, n_i of those who have item i; a user who has an item twice counts
    once.

    Args:
        corpus: its training pairs are used.
        shrinkage: at least 0.
    """
    distinct = corpus.train.distinct(num_items=corpus.num_items)
    users_of_item = torch.bincount(distinct.items, minlength=corpus.num_items).float()
    rows, columns, values = [], [], []
    for block, counts in cooccurrence_blocks(
        corpus.train, num_users=corpus.num_users, num_items=corpus.num_items
    ):
        row, column = torch.nonzero(counts, as_tuple=True)
        common = counts[row, column]
        row = row + block.start
        other = row != column
        row, column, common = row[other], column[other], common[other]
        rows.append(row)
        columns.append(column)
        values.append(common / ((users_of_item[row] * users_of_item[column]).sqrt() + shrinkage))
    return SparseRows.from_entries(
        torch.cat(rows), torch.cat(columns), torch.cat(values), shape=(corpus.num_items, corpus.num_items)
    )
