"""The scorer of every model that is a matrix of item-to-item weights.

Shape legend
    I  items   E  stored weights   B  queries   J  items of the block
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fuserec.batch import Queries
from fuserec.ops.sum_rows import SparseRows, sum_dense_rows, sum_sparse_rows
from fuserec.shapes import Float

__all__ = ["ItemToItem"]


@dataclass(frozen=True, slots=True)
class ItemToItem:
    """score of item j = sum over the distinct items i of the history of weights[i, j].

    A user seen in training and one who was not are served alike, from the history; an empty one scores 0
    everywhere.

    Attributes:
        weights: (I, I) dense float32, or sparse. Row: the item of the history; column: the candidate.
    """

    kind: ClassVar[str] = "item_to_item"

    weights: Float[Tensor, "I I"] | SparseRows

    @property
    def num_items(self) -> int:
        """I."""
        return len(self.weights) if isinstance(self.weights, Tensor) else self.weights.num_columns

    def scores(self, queries: Queries, items: slice) -> Float[Tensor, "B J"]:
        """(B, J) sums of weights; an item that stands twice in a history counts once."""
        history = queries.histories.distinct(num_items=self.num_items)
        if isinstance(self.weights, Tensor):
            return sum_dense_rows(history, self.weights, items)
        return sum_sparse_rows(history, self.weights, items)

    def tensors(self) -> dict[str, Tensor]:
        """Dense: ``weights``. Sparse: ``crow`` (I + 1,), ``col`` (E,) and ``values`` (E,), as CSR has them."""
        if isinstance(self.weights, Tensor):
            return {"weights": self.weights}
        crow = torch.zeros(self.num_items + 1, dtype=torch.int64)
        crow[1:] = torch.bincount(self.weights.rows, minlength=self.num_items).cumsum(0)
        return {"crow": crow, "col": self.weights.columns, "values": self.weights.values}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> ItemToItem:
        """Take back what `tensors` gave."""
        if "weights" in tensors:
            return cls(tensors["weights"])
        lengths = tensors["crow"].diff()
        rows = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
        shape = (len(lengths), len(lengths))
        return cls(SparseRows.from_entries(rows, tensors["col"], tensors["values"], shape=shape))
