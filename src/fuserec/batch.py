"""The typed values that cross floors.

Users and items are row numbers from 0 here; original ids stay with the dataset. Padding is a mask or a
ragged offset, never an id.

Shape legend
    E  user-item pairs   U  users   I  items   B  queries or batch rows   T  all history entries   K  neighbours
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fuserec.shapes import Bool, Float, Int

__all__ = [
    "Batch",
    "Corpus",
    "Histories",
    "ItemBatch",
    "KnnGraph",
    "Modality",
    "PairBatch",
    "Pairs",
    "Prepared",
    "Queries",
    "StagePlan",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """User-item pairs, in the order of their events.

    Attributes:
        users: (E,) int64 user rows.
        items: (E,) int64 item rows.
    """

    users: Int[Tensor, " E"]
    items: Int[Tensor, " E"]

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.users)

    def distinct(self, *, num_items: int) -> Pairs:
        """Each pair once, by user and then by item."""
        keys = torch.unique(self.users * num_items + self.items)
        return Pairs(users=keys // num_items, items=keys % num_items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Histories:
    """One list of items a row: row b holds ``items[offsets[b]:offsets[b + 1]]``.

    Attributes:
        items: (T,) int64 item rows.
        offsets: (B + 1,) int64, first 0, last T.
    """

    items: Int[Tensor, " T"]
    offsets: Int[Tensor, " B_plus_1"]

    @classmethod
    def of(cls, pairs: Pairs, *, num_users: int) -> Histories:
        """The history of every user row 0..num_users-1, each in the order of the pairs."""
        order = torch.argsort(pairs.users, stable=True)
        counts = torch.bincount(pairs.users, minlength=num_users)
        return cls(items=pairs.items[order], offsets=_offsets(counts))

    @classmethod
    def from_lists(cls, lists: list[list[int]]) -> Histories:
        """Histories given as lists of item rows."""
        flat = torch.tensor([item for row in lists for item in row], dtype=torch.int64)
        return cls(items=flat, offsets=_offsets(torch.tensor(list(map(len, lists)), dtype=torch.int64)))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int[Tensor, " B"]:
        """(B,) number of entries of each row."""
        return self.offsets.diff()

    def rows(self) -> Int[Tensor, " T"]:
        """(T,) the row to which each entry belongs."""
        return torch.repeat_interleave(
            torch.arange(len(self), device=self.offsets.device), self.lengths, output_size=len(self.items)
        )

    def select(self, rows: Int[Tensor, " R"]) -> Histories:
        """The histories of the given rows, in that order."""
        lengths = self.lengths[rows]
        offsets = _offsets(lengths)
        shift = torch.repeat_interleave(self.offsets[rows] - offsets[:-1], lengths)
        return Histories(items=self.items[torch.arange(len(shift)) + shift], offsets=offsets)

    def distinct(self, *, num_items: int) -> Histories:
        """The same histories, each item once, in the order of the item rows."""
        pairs = Pairs(users=self.rows(), items=self.items).distinct(num_items=num_items)
        counts = torch.bincount(pairs.users, minlength=len(self))
        return Histories(items=pairs.items, offsets=_offsets(counts))


def _offsets(lengths: Int[Tensor, " B"]) -> Int[Tensor, " B_plus_1"]:
    """Where each row of those lengths starts, and the end of the last."""
    return torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """Who asks for recommendations: trained users by row, anyone else by history.

    Attributes:
        users: (B,) int64 row of a user seen in training, -1 for one who was not.
        histories: B rows of items the user has interacted with, oldest first.
    """

    users: Int[Tensor, " B"]
    histories: Histories

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.users)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnnGraph:
    """A ready neighbour list for every item, as it came with the data (not symmetric in general).

    Attributes:
        neighbours: (I, K) int64 item rows, -1 where there is none; may hold the item itself.
        weights: (I, K) similarity, for example cosine; 0 where there is no neighbour.
    """

    neighbours: Int[Tensor, "I K"]
    weights: Float[Tensor, "I K"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Modality:
    """What one modality (text, image, ...) knows of the items: features, a ready graph, or both.

    Attributes:
        name: for example ``"image"``.
        present: (I,) True where the item has this modality.
        features: (I, width) float32, zero rows where absent; None when only a graph is known.
        graph: a ready neighbour graph that stands in for the one built from the features.
    """

    name: str
    present: Bool[Tensor, " I"]
    features: Float[Tensor, "I width"] | None = None
    graph: KnnGraph | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """The facts a model may know: training interactions and content. Never a held-out event.

    Attributes:
        num_users: U.
        num_items: I, including items without a training interaction (cold items).
        train: (E,) training pairs.
        modalities: what is known of the items' content.
    """

    num_users: int
    num_items: int
    train: Pairs
    modalities: tuple[Modality, ...] = ()

    def popularity(self) -> Int[Tensor, " I"]:
        """(I,) number of training pairs of each item; 0 marks a cold item."""
        return torch.bincount(self.train.items, minlength=self.num_items)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairBatch:
    """One step of pairwise training.

    Attributes:
        users: (B,) user rows.
        positives: (B,) item rows the users interacted with.
        negatives: (B,) item rows drawn as negatives.
    """

    users: Int[Tensor, " B"]
    positives: Int[Tensor, " B"]
    negatives: Int[Tensor, " B"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemBatch:
    """One step over items, whoever interacted with them.

    Attributes:
        items: (B,) item rows, each once.
    """

    items: Int[Tensor, " B"]


Batch = PairBatch | Histories | ItemBatch
"""What a step learns from: pairs with negatives, whole histories, or items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """A part of a model's training, as the model asks for it.

    Attributes:
        batches: the kind of all its batches.
        epochs: passes over them; None in the last stage, which has those of the recipe.
        batch_size: what a step holds; None for the recipe's.
        terms: names of the losses of such a batch; None where the model has one stage and tells them with the first batch.
        evaluated: whether the model can rank by then.
    """

    batches: Literal["pairs", "histories", "items"]
    epochs: int | None = None
    batch_size: int | None = None
    terms: frozenset[str] | None = None
    evaluated: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A dataset under one split, as plain arrays: all that training and evaluation need.

    Attributes:
        corpus: what models may know.
        valid: held-out pairs that choose settings and stop training.
        test: held-out pairs that are read once, when everything is chosen.
        split: name of the split.
        repeats: a user may have the same item again, so seen items stay candidates.
        dataset_hash: hash of the dataset's manifest.
        split_hash: hash of the training, validation and test pairs.
    """

    corpus: Corpus
    valid: Pairs
    test: Pairs
    split: str
    repeats: bool
    dataset_hash: str
    split_hash: str
