"""Recommendations with the original ids, for known users and for histories nobody has seen.

Shape legend
    U  known users   I  items   B  those who ask
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import torch
from torch import Tensor

from fuserec.batch import Histories, Queries
from fuserec.data.ids import rows_of, series_of
from fuserec.errors import ConfigError, DataError
from fuserec.index.exact import Ranking, rank_items
from fuserec.index.filters import Filters, known_rows
from fuserec.index.similar import neighbour_scorer
from fuserec.models.popularity import PopularityScorer
from fuserec.models.protocol import Scorer
from fuserec.models.sequence_scorer import SequenceScorer
from fuserec.shapes import Bool, Float, Int

__all__ = ["Ranked", "Recommender"]


_SOURCES = pl.Series(["model", "history", "start", "popularity"])
_MODEL, _HISTORY, _START, _POPULARITY = range(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """Recommendations and who asked for them.

    Attributes:
        labels: (B,) ``user_id`` of everyone who asked.
        queries: B, what the scorer was told of them.
        sources: (B,) where their recommendations come from.
        frame: as from `Recommender.recommend`, with ``query``, the position of who asked, as first column.
    """

    labels: pl.Series
    queries: Queries
    sources: pl.Series
    frame: pl.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommender:
    """A scorer together with what is needed to speak of users and items by their own ids.

    Attributes:
        scorer: scores the items.
        user_ids: (U,) original ids, row by row.
        items: I rows, row by row: ``item_id`` and whatever is known of the items, such as ``title``.
        histories: U rows of all items that a user is known to have had, oldest first.
        trained: (U,) True where the scorer was trained with the user; others are served by history.
        popularity: (I,) training interactions of each item, for those without any history.
        available: (I,) False where an item is withdrawn: it is never shown, but stays in histories. None where
            the catalogue says nothing of it.
        repeats: users may want an item again, so by default what they have had stays in the ranking.
        synthetic: the data was made by a program; said wherever recommendations are shown.
        first_added: row of the first item that was added after training; None where none was.
    """

    scorer: Scorer
    user_ids: pl.Series
    items: pl.DataFrame
    histories: Histories
    trained: Bool[Tensor, " U"]
    popularity: Int[Tensor, " I"]
    available: Bool[Tensor, " I"] | None = None
    repeats: bool = False
    synthetic: bool = False
    first_added: int | None = None

    def recommend(
        self,
        users: Sequence[Any] | pl.Series | None = None,
        *,
        histories: Sequence[Sequence[Any]] | None = None,
        k: int = 10,
        filter_viewed: bool | None = None,
        items_to_recommend: Sequence[Any] | pl.Series | None = None,
        exclude: Sequence[Any] | pl.Series | None = None,
        categories: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """The ``k`` best items for users or for histories, of those that pass the filters.

        Args:
            users: ids of known users; None means all of them. With ``histories`` they are merely the
                labels of the rows.
            histories: item ids a user has had, oldest first, one list for each. Without ``users`` the rows
                are labelled 0, 1, ...
            k: items for each; fewer are given where fewer are left.
            filter_viewed: leave out what a user has had already. None follows the dataset: yes, unless it
                was built to keep repeats.
            items_to_recommend: recommend only from among these item ids.
            exclude: never recommend these item ids.
            categories: recommend only items that have at least one of these.

        Returns:
            One row a recommendation: ``user_id``, ``item_id``, ``score``, ``rank`` (from 1), ``source``
            and, where the items have one, ``title``. The source is ``"model"`` for a user seen in training,
            ``"history"`` for one served from a history alone. For an empty history, or one that the scorer knows
            nothing of, it is ``"start"`` where the scorer has learnt what people begin with, and ``"popularity"``
            where it has not. Scores of different sources do not compare.

        Raises:
            DataError: an id or a category is unknown, or text stands where a list of ids should; use
                `known_items` to sort out a history first.
            ConfigError: ``k`` is below 1, or users and histories differ in number.
        """
        filters = Filters(only=items_to_recommend, exclude=exclude, categories=categories)
        ranked = self.ranked(users, histories=histories, k=k, filter_viewed=filter_viewed, filters=filters)
        return ranked.frame.drop("query")

    def ranked(
        self,
        users: Sequence[Any] | pl.Series | None = None,
        *,
        histories: Sequence[Sequence[Any]] | None = None,
        k: int = 10,
        filter_viewed: bool | None = None,
        filters: Filters | None = None,
    ) -> Ranked:
        """`recommend` for who also wants to know who asked, those with nothing left among them."""
        labels, queries = self._queries(users, histories)
        hide = not self.repeats if filter_viewed is None else filter_viewed
        candidates = self._candidates(filters)
        source = _sources_of(self.scorer, queries)

        def ranking_of(scorer: Scorer, rows: Int[Tensor, " R"]) -> Ranking:
            asked = Queries(users=queries.users[rows], histories=queries.histories.select(rows))
            seen = asked.histories if hide else None
            return rank_items(
                scorer, asked, k=k, exclude=seen, candidates=candidates, first_added=self.first_added
            )

        rows = (source != _POPULARITY).nonzero()[:, 0]
        ranking = ranking_of(self.scorer, rows)
        # a history that the scorer knows nothing of, such as one of cold items alone, is as good as none
        mute = ranking.silent & (queries.users[rows] < 0)
        source[rows[mute]] = _POPULARITY
        spoken = ranking.of(~mute)
        without = (source == _POPULARITY).nonzero()[:, 0]
        popular = ranking_of(PopularityScorer(self.popularity.float()), without)
        frame = self._frame(
            labels, source, [(rows[spoken.queries], spoken), (without[popular.queries], popular)]
        )
        return Ranked(labels=labels, queries=queries, sources=_SOURCES.gather(source.numpy()), frame=frame)

    def similar(
        self,
        item: Any,
        *,
        k: int = 10,
        items_to_recommend: Sequence[Any] | pl.Series | None = None,
        exclude: Sequence[Any] | pl.Series | None = None,
        categories: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """The ``k`` items most similar to an item, of those that pass the filters; never the item itself.

        For scorers of two towers similarity is the cosine of the item vectors; for item-to-item weights it is
        the item's row of the matrix, the scores of somebody who has had this item alone.

        Args:
            item: its id.
            k: fewer items are given where fewer are left.
            items_to_recommend: only from among these item ids.
            exclude: none of these item ids.
            categories: only items that have at least one of these.

        Returns:
            One row an item: ``item_id``, ``score``, ``rank`` (from 1) and, where the items have one, ``title``.

        Raises:
            DataError: an id or a category is unknown, or the scorer knows nothing of the item.
            ConfigError: ``k`` is below 1, or the scorer does not say which items are similar.
        """
        filters = Filters(only=items_to_recommend, exclude=exclude, categories=categories)
        _, ranking = self.ranked_similar(item, k=k, filters=filters)
        return pl.DataFrame(self._columns(ranking.items, ranking.scores, ranking.ranks))

    def ranked_similar(
        self, item: Any, *, k: int = 10, filters: Filters | None = None
    ) -> tuple[int, Ranking]:
        """`similar` in rows: that of the item, and the ranking of the others."""
        row = known_rows([item], self.items["item_id"], what="item", advice="ask for one of its items")
        alone = Histories(items=row, offsets=torch.tensor([0, 1]))
        ranking = rank_items(
            neighbour_scorer(self.scorer),
            Queries(users=row, histories=alone),
            k=k,
            exclude=alone,
            candidates=self._candidates(filters),
            first_added=self.first_added,
        )
        if ranking.silent.any():
            raise DataError(
                f"expected an item that the model knows something of, but it holds every other item equally "
                f"similar to {item!r} (it was not in training, or has no content that the model uses); "
                "ask for another item"
            )
        return int(row), ranking

    def known_items(self, ids: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Item ids that the catalogue holds, and those that it does not, each in the order given."""
        found = rows_of(series_of(ids), self.items["item_id"]).is_not_null()
        known = [item for item, is_known in zip(ids, found, strict=True) if is_known]
        unknown = [item for item, is_known in zip(ids, found, strict=True) if not is_known]
        return known, unknown

    def _queries(
        self, users: Sequence[Any] | pl.Series | None, histories: Sequence[Sequence[Any]] | None
    ) -> tuple[pl.Series, Queries]:
        if histories is None:
            rows = torch.arange(len(self.user_ids))
            if users is not None:
                rows = self._rows(users, self.user_ids, what="user")
            asked = torch.where(self.trained[rows], rows, -1)
            return self.user_ids.gather(rows.numpy()), Queries(
                users=asked, histories=self.histories.select(rows)
            )
        labels = pl.Series("user_id", range(len(histories)) if users is None else users)
        if len(labels) != len(histories):
            raise ConfigError(
                f"expected a user for each of the {len(histories)} histories, got {len(labels)}"
            )
        for row in histories:
            if isinstance(row, str):
                raise DataError(f"expected a list of item ids for each history, got the text {row!r}")
        flat = self._rows([item for row in histories for item in row], self.items["item_id"], what="item")
        lengths = torch.tensor([0, *map(len, histories)], dtype=torch.int64)
        unseen = torch.full((len(histories),), -1, dtype=torch.int64)
        return labels, Queries(users=unseen, histories=Histories(items=flat, offsets=lengths.cumsum(0)))

    def _candidates(self, filters: Filters | None) -> Bool[Tensor, " I"] | None:
        """(I,) True where an item may be shown; None where all may."""
        if filters is None:
            return self.available
        passed = filters.candidates(self.items)
        return passed if self.available is None else passed & self.available

    def _frame(
        self, labels: pl.Series, source: Int[Tensor, " B"], parts: list[tuple[Tensor, Ranking]]
    ) -> pl.DataFrame:
        queries = torch.cat([rows for rows, _ in parts])
        order = queries.argsort(stable=True)
        query_of_row = queries[order].numpy()
        who = [pl.Series("query", query_of_row), labels.gather(query_of_row).alias("user_id")]
        item_id, score, rank, *title = self._columns(
            torch.cat([ranking.items for _, ranking in parts])[order],
            torch.cat([ranking.scores for _, ranking in parts])[order],
            torch.cat([ranking.ranks for _, ranking in parts])[order],
        )
        sources = _SOURCES.gather(source.numpy()[query_of_row]).alias("source")
        return pl.DataFrame([*who, item_id, score, rank, sources, *title])

    def _columns(
        self, items: Int[Tensor, " R"], scores: Float[Tensor, " R"], ranks: Int[Tensor, " R"]
    ) -> list[pl.Series]:
        """R ranked items as ``item_id``, ``score``, ``rank`` and, where the items have one, ``title``."""
        rows = items.numpy()
        told = [self.items[name].gather(rows) for name in ("item_id", "title") if name in self.items.columns]
        return [told[0], pl.Series("score", scores.numpy()), pl.Series("rank", ranks.numpy()), *told[1:]]

    def _rows(self, ids: Sequence[Any] | pl.Series, known: pl.Series, *, what: str) -> Int[Tensor, " B"]:
        advice = "give a history instead" if what == "user" else "leave them out"
        return known_rows(ids, known, what=what, advice=advice)


def _sources_of(scorer: Scorer, queries: Queries) -> Int[Tensor, " B"]:
    """(B,) where each answer comes from, as far as that is known before the scorer is asked."""
    lengths, otherwise = queries.histories.lengths, _POPULARITY
    if isinstance(scorer, SequenceScorer):
        lengths, otherwise = scorer.heard(queries.histories).lengths, _START
    return torch.where(queries.users >= 0, _MODEL, torch.where(lengths > 0, _HISTORY, otherwise))
