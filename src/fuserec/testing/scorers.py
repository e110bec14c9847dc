"""A scorer that is nothing but a table of scores, so that every ranking can be checked by hand."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fuserec.batch import Queries

__all__ = ["TableScorer"]


class TableScorer:
    """Known user u gets row u; anyone else gets the sum of the columns of ``item_to_item`` they had."""

    kind: ClassVar[str] = "table"

    def __init__(self, table: Tensor, item_to_item: Tensor | None = None) -> None:
        self.table = table
        self.item_to_item = torch.eye(table.shape[1]) if item_to_item is None else item_to_item
        self.asked: list[int] = []

    @property
    def num_items(self) -> int:
        """Columns of the table."""
        return self.table.shape[1]

    def scores(self, queries: Queries, items: slice) -> Tensor:
        """Rows of the table; how many were asked for at a time is kept in ``asked``."""
        self.asked.append(len(queries))
        from_history = torch.zeros(len(queries), self.num_items).index_add(
            0, queries.histories.rows(), self.item_to_item[queries.histories.items]
        )
        known = (queries.users >= 0)[:, None]
        return torch.where(known, self.table[queries.users.clamp(min=0)], from_history)[:, items]

    def tensors(self) -> dict[str, Tensor]:
        """Both tables."""
        return {"table": self.table, "item_to_item": self.item_to_item}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> TableScorer:
        """The scorer with these tables."""
        return cls(**tensors)
