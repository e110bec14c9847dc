"""The best items for each query, by scoring the whole catalogue.

Shape legend
    B  queries of a chunk   Q  all queries   I  items   R  ranked items of all queries together
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fuserec.batch import Histories, Queries
from fuserec.errors import CheckpointError, ConfigError
from fuserec.models.protocol import Scorer
from fuserec.ops.topk import topk
from fuserec.shapes import Bool, Float, Int

__all__ = ["Ranking", "rank_items"]

SCORES_IN_MEMORY = 2**24
"""Scores held at a time: 64 MiB of float32, whatever the size of the catalogue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Items in order of their rank, one query after the other.

    Attributes:
        queries: (R,) position of the query.
        items: (R,) item rows.
        scores: (R,) float32.
        ranks: (R,) 1 for the best item of a query.
        silent: (Q,) True where the scorer gave all items the same score, so that their order says nothing.
    """

    queries: Int[Tensor, " R"]
    items: Int[Tensor, " R"]
    scores: Float[Tensor, " R"]
    ranks: Int[Tensor, " R"]
    silent: Bool[Tensor, " Q"]

    def of(self, wanted: Bool[Tensor, " Q"]) -> Ranking:
        """The rankings of the wanted queries alone; their positions stay."""
        kept = wanted[self.queries]
        return Ranking(
            queries=self.queries[kept],
            items=self.items[kept],
            scores=self.scores[kept],
            ranks=self.ranks[kept],
            silent=self.silent & wanted,
        )


def rank_items(
    scorer: Scorer,
    queries: Queries,
    *,
    k: int,
    exclude: Histories | None = None,
    candidates: Bool[Tensor, " I"] | None = None,
    first_added: int | None = None,
) -> Ranking:
    """The ``k`` best items of every query, exact, in chunks of queries.

    Of two items with the same score the one in the lower row comes first. A query with fewer than ``k``
    items left gets fewer.

    Args:
        scorer: scores the items.
        queries: Q queries.
        k: length of a ranking, at least 1.
        exclude: Q rows of items that a query must not get, for example those it has already.
        candidates: (I,) True where an item may be recommended at all; None allows all.
        first_added: row of the first item that was added after training. A product with more items differs in its last
            bits, so those from there on are scored apart, and the others have the scores that they had without them.

    Raises:
        ConfigError: ``k`` is below 1.
        CheckpointError: the scorer gives a score that is not finite.
    """
    if k < 1:
        raise ConfigError(f"expected k of at least 1, got {k}")
    border = scorer.num_items if first_added is None else first_added
    added = [slice(border, scorer.num_items)] if border < scorer.num_items else []
    chunk = max(1, SCORES_IN_MEMORY // max(1, border))
    parts: list[Ranking] = []
    for start in range(0, len(queries), chunk):
        rows = torch.arange(start, min(start + chunk, len(queries)))
        part = Queries(users=queries.users[rows], histories=queries.histories.select(rows))
        scores = torch.cat(
            [scorer.scores(part, block).float() for block in (slice(0, border), *added)], dim=1
        )
        if not scores.isfinite().all():
            raise CheckpointError("expected finite scores from the run, got NaN or infinity; train it again")
        silent = (scores == scores[:, :1]).all(1)
        if candidates is not None:
            scores = scores.masked_fill(~candidates, -math.inf)
        if exclude is not None:
            hidden = exclude.select(rows)
            scores = scores.index_put((hidden.rows(), hidden.items), torch.tensor(-math.inf))
        values, items = topk([scores], min(k, scorer.num_items))
        kept = values > -math.inf
        where = kept.nonzero()
        parts.append(
            Ranking(
                queries=rows[where[:, 0]],
                items=items[kept],
                scores=values[kept],
                ranks=where[:, 1] + 1,
                silent=silent,
            )
        )
    return _joined(parts)


def _joined(parts: list[Ranking]) -> Ranking:
    empty = torch.zeros(0, dtype=torch.int64)
    return Ranking(
        queries=torch.cat([empty, *(part.queries for part in parts)]),
        items=torch.cat([empty, *(part.items for part in parts)]),
        scores=torch.cat([torch.zeros(0), *(part.scores for part in parts)]),
        ranks=torch.cat([empty, *(part.ranks for part in parts)]),
        silent=torch.cat([torch.zeros(0, dtype=torch.bool), *(part.silent for part in parts)]),
    )
