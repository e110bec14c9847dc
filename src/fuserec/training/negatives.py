"""Training pairs with sampled negatives, a whole epoch at a time.

Shape legend
    E  training pairs   B  batch
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from fuserec.batch import Corpus, PairBatch
from fuserec.errors import TrainingError
from fuserec.shapes import Int

__all__ = ["PairSampler"]


class PairSampler:
    """Uniform over interactions (not users), with one negative each.

    A negative is uniform over the items that have a training interaction and that the user has none with.
    Paper: TMFUN Eq. (10).

    Args:
        corpus: training interactions.
        batch_size: pairs a batch; the last one of an epoch may be smaller.
        shuffle: orders the pairs.
        negatives: draws the negatives.

    Raises:
        TrainingError: there is no pair, or a user has every item, so no negative exists.
    """

    def __init__(
        self, corpus: Corpus, *, batch_size: int, shuffle: torch.Generator, negatives: torch.Generator
    ) -> None:
        self._pairs = corpus.train
        self._num_items = corpus.num_items
        self._batch_size = batch_size
        self._shuffle, self._negatives = shuffle, negatives
        self._warm = torch.nonzero(corpus.popularity()).squeeze(1)
        self._known = torch.unique(self._keys(self._pairs.users, self._pairs.items))
        if len(self._pairs) == 0:
            raise TrainingError("expected training interactions, got none; check the split")
        distinct = torch.bincount(self._known // corpus.num_items, minlength=corpus.num_users)
        if int(distinct.max()) == len(self._warm):
            row = int(distinct.argmax())
            raise TrainingError(
                f"user row {row} interacted with all {len(self._warm)} training items, so no negative can be "
                "drawn for it; leave that user out (users.parquet of the dataset has the id of the row) or use a "
                "closed-form model"
            )

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self._pairs) // self._batch_size)

    @property
    def generators(self) -> dict[str, torch.Generator]:
        """All that the next epoch depends on besides the corpus: between two epochs nothing else is left open."""
        return {"shuffle": self._shuffle, "negatives": self._negatives}

    def _keys(
        self, users: Int[torch.Tensor, " E"], items: Int[torch.Tensor, " E"]
    ) -> Int[torch.Tensor, " E"]:
        return users * self._num_items + items

    def epoch(self) -> Iterator[PairBatch]:
        """Every training pair once, in a new order, with new negatives."""
        order = torch.randperm(len(self._pairs), generator=self._shuffle)
        users, positives = self._pairs.users[order], self._pairs.items[order]
        negatives = self.draw(users)
        for start in range(0, len(order), self._batch_size):
            rows = slice(start, start + self._batch_size)
            yield PairBatch(users=users[rows], positives=positives[rows], negatives=negatives[rows])

    def draw(self, users: Int[torch.Tensor, " E"]) -> Int[torch.Tensor, " E"]:
        """(E,) one negative for each user row; draws again wherever the user has the item."""
        items = torch.empty_like(users)
        open_rows = torch.arange(len(users))
        while len(open_rows):
            drawn = torch.randint(len(self._warm), (len(open_rows),), generator=self._negatives)
            items[open_rows] = self._warm[drawn]
            keys = self._keys(users[open_rows], items[open_rows])
            place = torch.searchsorted(self._known, keys).clamp_max(len(self._known) - 1)
            open_rows = open_rows[self._known[place] == keys]
        return items
