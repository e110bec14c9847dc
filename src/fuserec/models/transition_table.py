"""The scorer of what follows what: weights between items, summed over the last events of a history.

Shape legend
    I  items   A  ages   B  queries   J  items of the block   T  all history entries
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fuserec.batch import Histories, Queries
from fuserec.models.item_to_item import ItemToItem
from fuserec.ops.sum_rows import SparseRows, sum_sparse_rows
from fuserec.shapes import Float, Int

__all__ = ["TransitionTable"]


@dataclass(frozen=True, slots=True)
class TransitionTable:
    """score of item j = sum over the last A events of the history of by_age[age] * weights[item of the event, j].

    The age of an event is how many came after it. An item that stands twice counts twice; an empty history scores 0
    everywhere. A user seen in training and one who was not are served alike.

    Attributes:
        weights: (I, I) sparse. Row: the item of the history; column: the candidate.
        by_age: (A,) what the last event counts, the one before it, and so on.
    """

    kind: ClassVar[str] = "transition_table"

    weights: SparseRows
    by_age: Float[Tensor, " A"]

    @property
    def num_items(self) -> int:
        """I."""
        return self.weights.num_columns

    def scores(self, queries: Queries, items: slice) -> Float[Tensor, "B J"]:
        """(B, J) weighted sums of the rows of the last events."""
        latest, age_T = _latest(queries.histories, len(self.by_age))
        return sum_sparse_rows(latest, self.weights, items, weights=self.by_age[age_T])

    def tensors(self) -> dict[str, Tensor]:
        """The weights as `ItemToItem` has them, and ``by_age``."""
        return {**ItemToItem(self.weights).tensors(), "by_age": self.by_age}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> TransitionTable:
        """Take back what `tensors` gave."""
        weights = ItemToItem.from_tensors(tensors).weights
        assert isinstance(weights, SparseRows)
        return cls(weights, tensors["by_age"])


def _latest(histories: Histories, count: int) -> tuple[Histories, Int[Tensor, " T"]]:
    """The last ``count`` events of each history, all where there are fewer, and the age of each."""
    age = torch.repeat_interleave(histories.offsets[1:], histories.lengths) - 1
    age -= torch.arange(len(histories.items))
    kept = age < count
    ends = histories.lengths.clamp_max(count).cumsum(0)
    offsets = torch.cat([torch.zeros_like(histories.offsets[:1]), ends])
    return Histories(items=histories.items[kept], offsets=offsets), age[kept]
