"""The most popular items for everybody.

Shape legend
    I  items   B  queries   J  items of the block
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from fuserec.batch import Corpus, Queries
from fuserec.shapes import Float

__all__ = ["Popularity", "PopularityConfig", "PopularityScorer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PopularityConfig:
    """There is nothing to choose."""


@dataclass(frozen=True, slots=True)
class PopularityScorer:
    """score of item j = its number of training interactions, whoever asks.

    Attributes:
        counts: (I,) float32, exact up to 2**24.
    """

    kind: ClassVar[str] = "popularity"

    counts: Float[Tensor, " I"]

    @property
    def num_items(self) -> int:
        """I."""
        return len(self.counts)

    def scores(self, queries: Queries, items: slice) -> Float[Tensor, "B J"]:
        """(B, J) the same row for every query."""
        return self.counts[items].repeat(len(queries), 1)

    def tensors(self) -> dict[str, Tensor]:
        """``counts``."""
        return {"counts": self.counts}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> PopularityScorer:
        """Take back what `tensors` gave."""
        return cls(tensors["counts"])


class Popularity:
    """Counts training interactions; a repeated one counts again."""

    def __init__(self, config: PopularityConfig) -> None:
        self.config = config

    def fit(self, corpus: Corpus) -> PopularityScorer:
        """Count."""
        return PopularityScorer(corpus.popularity().float())
