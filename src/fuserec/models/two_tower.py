"""The scorer of every model whose score is one product of a user and an item vector.

Shape legend
    U  trained users   I  items   D  width   B  queries   J  items of the block
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from fuserec.batch import Histories, Queries
from fuserec.models.fold_in import fold_in, user_vectors
from fuserec.shapes import Bool, Float

__all__ = ["TwoTower"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoTower:
    """score = <user, item>; a user unseen in training is folded in from a history.

    Attributes:
        user: (U, D) vectors of the users seen in training.
        item: (I, D) vectors to score against.
        fold: (I, D) what one item of a history contributes to a new user's vector.
        foldable: (I,) items that contribute at all (those with a training interaction).
        mean_fold: (I, D) what an item contributes to a mean over the history, for models whose users have one.
    """

    kind: ClassVar[str] = "two_tower"

    user: Float[Tensor, "U D"]
    item: Float[Tensor, "I D"]
    fold: Float[Tensor, "I D"]
    foldable: Bool[Tensor, " I"]
    mean_fold: Float[Tensor, "I D"] | None = None

    @property
    def num_items(self) -> int:
        """I."""
        return len(self.item)

    def user_vectors(self, queries: Queries) -> Float[Tensor, "B D"]:
        """(B, D): the trained row, or by fold-in for rows of -1."""
        return user_vectors(
            queries, user=self.user, fold=self.fold, foldable=self.foldable, mean_fold=self.mean_fold
        )

    def fold_in(self, histories: Histories) -> Float[Tensor, "B D"]:
        """(B, D) vectors of users known by their histories alone; zero for an empty one."""
        return fold_in(histories, fold=self.fold, foldable=self.foldable, mean_fold=self.mean_fold)

    def scores(self, queries: Queries, items: slice) -> Float[Tensor, "B J"]:
        """(B, J) inner products."""
        return self.user_vectors(queries) @ self.item[items].T

    def tensors(self) -> dict[str, Tensor]:
        """The attributes."""
        tensors = {"user": self.user, "item": self.item, "fold": self.fold, "foldable": self.foldable}
        return tensors if self.mean_fold is None else tensors | {"mean_fold": self.mean_fold}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> TwoTower:
        """Take back what `tensors` gave."""
        return cls(**tensors)
