"""Markov: what follows an item, counted.

Ours; the pieces are old: a Markov chain over items (Shani, Heckerman, Brafman, "An MDP-based recommender system",
JMLR 2005), skipping so that near items count too, and a share of the target's popularity divided away. It learns nothing, and a
sequence model that is not clearly ahead of it has learnt little more than which item follows which.

Shape legend
    I  items   T  all history entries
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fuserec.batch import Corpus, Histories
from fuserec.errors import ConfigError
from fuserec.models.transition_table import TransitionTable
from fuserec.ops.sum_rows import SparseRows
from fuserec.shapes import Float, Int

__all__ = ["Markov", "MarkovConfig", "following", "transitions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkovConfig:
    """Options of the Markov table. The defaults are validation's choice on MovieLens-1M, leave-one-out (docs/papers/markov.md)."""

    window: int = 10
    """Events after an event that count as following it, at least 1; one at distance d counts 1 / d."""
    history: int = 10
    """Last events of a history that are looked at when scoring, at least 1."""
    decay: float = 0.8
    """What an event counts beside the one after it when scoring, above 0 and at most 1."""
    shrinkage: float = 50.0
    """Added to the count of the item that is left, at least 0; larger trusts what follows rare items less."""
    popularity_power: float = 0.25
    """The score of a candidate is divided by its popularity to this power; 0 leaves it."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("window", "history"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.decay <= 1:
            raise ConfigError(f"decay must be above 0 and at most 1, got {self.decay}")
        for name in ("shrinkage", "popularity_power"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}")


class Markov:
    """score of j = sum over the last events, of age a and item i, of decay^a c_ij / (n_i + shrinkage) / n_j^power."""

    def __init__(self, config: MarkovConfig) -> None:
        self.config = config

    def fit(self, corpus: Corpus) -> TransitionTable:
        """Count what follows what in the training histories."""
        counts = transitions(corpus, window=self.config.window)
        popularity_I = corpus.popularity().float()
        left = popularity_I[counts.rows] + self.config.shrinkage
        reached = popularity_I[counts.columns] ** self.config.popularity_power
        weights = SparseRows(
            places=counts.places,
            values=counts.values / (left * reached),
            num_rows=counts.num_rows,
            num_columns=counts.num_columns,
        )
        return TransitionTable(weights, self.config.decay ** torch.arange(float(self.config.history)))


def transitions(corpus: Corpus, *, window: int) -> SparseRows:
    """(I, I) c_ij, the sum of 1 / d over all events of j that come d events after one of i, d at most ``window``.

    Time and memory are linear in ``window`` times the number of training pairs.

    Args:
        corpus: its training pairs are used, each user's in their order.
        window: at least 1.
    """
    before, after, weights = map(torch.cat, zip(*following(corpus, window=window), strict=True))
    return SparseRows.from_entries(before, after, weights, shape=(corpus.num_items, corpus.num_items))


def following(
    corpus: Corpus, *, window: int
) -> Iterator[tuple[Int[Tensor, " _"], Int[Tensor, " _"], Float[Tensor, " _"]]]:
    """For each distance d from 1 to ``window``: items, the items d events after them in the same history, and 1 / d of each.

    Args:
        corpus: its training pairs are used, each user's in their order.
        window: at least 1.
    """
    histories = Histories.of(corpus.train, num_users=corpus.num_users)
    items_T, user_T = histories.items, histories.rows()
    for distance in range(1, window + 1):
        together = user_T[:-distance] == user_T[distance:]
        before, after = items_T[:-distance][together], items_T[distance:][together]
        yield before, after, torch.full((len(before),), 1.0 / distance)
