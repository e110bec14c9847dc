"""Recommendations with the original ids, for known users and for histories nobody has seen.

Shape legend
    U  known users   I  items   B  those who ask
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 (the shape hook reads it)
from dataclasses import dataclass
from typing import Any

import polars as pl
import torch
from torch import Tensor

from fuserec.batch import Histories, Queries
from fuserec.errors import ConfigError, DataError
from fuserec.index.exact import Ranking, rank_items
from fuserec.models.protocol import Scorer  # noqa: TC001 (the shape hook reads annotations when it runs)
from fuserec.ops.topk import topk
from fuserec.shapes import Bool, Int

__all__ = ["Recommender"]


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
        repeats: users may want an item again, so by default what they have had stays in the ranking.
    """

    scorer: Scorer
    user_ids: pl.Series
    items: pl.DataFrame
    histories: Histories
    trained: Bool[Tensor, " U"]
    popularity: Int[Tensor, " I"]
    repeats: bool = False

    def recommend(
        self,
        users: Sequence[Any] | pl.Series | None = None,
        *,
        histories: Sequence[Sequence[Any]] | None = None,
        k: int = 10,
        filter_viewed: bool | None = None,
        items_to_recommend: Sequence[Any] | pl.Series | None = None,
    ) -> pl.DataFrame:
        """The ``k`` best items for users or for histories.

        Args:
            users: ids of known users; None means all of them. With ``histories`` they are merely the
                labels of the rows.
            histories: item ids a user has had, oldest first, one list for each. Without ``users`` the rows
                are labelled 0, 1, ...
            k: items for each; fewer are given where fewer are left.
            filter_viewed: leave out what a user has had already. None follows the dataset: yes, unless it
                was built to keep repeats.
            items_to_recommend: recommend only from among these item ids.

        Returns:
            One row a recommendation: ``user_id``, ``item_id``, ``score``, ``rank`` (from 1), ``source``
            and, where the items have one, ``title``. The source is ``"model"`` for a user seen in training,
            ``"history"`` for one served from a history alone, ``"popularity"`` for an empty history; scores
            of different sources do not compare.

        Raises:
            DataError: an id is unknown; use `known_items` to sort out a history first.
            ConfigError: ``k`` is below 1, or users and histories differ in number.
        """
        labels, queries = self._queries(users, histories)
        hide = not self.repeats if filter_viewed is None else filter_viewed
        candidates = None if items_to_recommend is None else self._candidates(items_to_recommend)
        served = (queries.users >= 0) | (queries.histories.lengths > 0)
        rows = served.nonzero()[:, 0]
        asked = Queries(users=queries.users[rows], histories=queries.histories.select(rows))
        seen = asked.histories if hide else None
        ranking = rank_items(self.scorer, asked, k=k, exclude=seen, candidates=candidates)
        source = torch.where(queries.users >= 0, 0, torch.where(served, 1, 2))
        popular = self._popular((~served).nonzero()[:, 0], k=k, candidates=candidates)
        return self._frame(labels, source, [(rows[ranking.queries], ranking), (popular.queries, popular)])

    def known_items(self, ids: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Item ids that the catalogue holds, and those that it does not, each in the order given."""
        rows = _find(ids, self.items["item_id"], what="item")
        known = [item for item, row in zip(ids, rows, strict=True) if row is not None]
        unknown = [item for item, row in zip(ids, rows, strict=True) if row is None]
        return known, unknown

    def history(self, user: Any, *, last: int | None = None) -> pl.DataFrame:
        """What a known user has had: ``item_id`` and the item's other columns, the latest first.

        Raises:
            DataError: the user is unknown.
        """
        row = self._rows([user], self.user_ids, what="user")
        items = self.histories.select(row).items.flip(0)[:last]
        return self.items[items.numpy()]

    def describe(self, ids: Sequence[Any] | pl.Series) -> pl.DataFrame:
        """``item_id`` and what is known of each item, in the order of the ids.

        Raises:
            DataError: an item is unknown.
        """
        return self.items[self._rows(ids, self.items["item_id"], what="item").numpy()]

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
        flat = self._rows([item for row in histories for item in row], self.items["item_id"], what="item")
        lengths = torch.tensor([0, *map(len, histories)], dtype=torch.int64)
        unseen = torch.full((len(histories),), -1, dtype=torch.int64)
        return labels, Queries(users=unseen, histories=Histories(items=flat, offsets=lengths.cumsum(0)))

    def _candidates(self, ids: Sequence[Any] | pl.Series) -> Bool[Tensor, " I"]:
        candidates = torch.zeros(len(self.items["item_id"]), dtype=torch.bool)
        candidates[self._rows(ids, self.items["item_id"], what="item")] = True
        return candidates

    def _popular(
        self, queries: Int[Tensor, " B"], *, k: int, candidates: Bool[Tensor, " I"] | None
    ) -> Ranking:
        """The most popular items, the same for everyone: there is no history to differ by."""
        scores = self.popularity.float()[None]
        if candidates is not None:
            scores = scores.masked_fill(~candidates, -torch.inf)
        values, items = topk([scores], k)
        kept = values > -torch.inf
        count = int(kept.sum())
        return Ranking(
            queries=queries.repeat_interleave(count),
            items=items[kept].repeat(len(queries)),
            scores=values[kept].repeat(len(queries)),
            ranks=torch.arange(1, count + 1).repeat(len(queries)),
        )

    def _frame(
        self, labels: pl.Series, source: Int[Tensor, " B"], parts: list[tuple[Tensor, Ranking]]
    ) -> pl.DataFrame:
        queries = torch.cat([rows for rows, _ in parts])
        order = queries.argsort(stable=True).numpy()
        query_of_row = queries.numpy()[order]
        item_of_row = torch.cat([ranking.items for _, ranking in parts]).numpy()[order]
        columns = {
            "user_id": labels.gather(query_of_row),
            "item_id": self.items["item_id"].gather(item_of_row),
            "score": torch.cat([ranking.scores for _, ranking in parts]).numpy()[order],
            "rank": torch.cat([ranking.ranks for _, ranking in parts]).numpy()[order],
            "source": pl.Series(["model", "history", "popularity"]).gather(source.numpy()[query_of_row]),
        }
        if "title" in self.items.columns:
            columns["title"] = self.items["title"].gather(item_of_row)
        return pl.DataFrame(columns)

    def _rows(self, ids: Sequence[Any] | pl.Series, known: pl.Series, *, what: str) -> Int[Tensor, " B"]:
        rows = _find(ids, known, what=what)
        unknown = [repr(name) for name, row in zip(ids, rows, strict=True) if row is None]
        if unknown:
            some = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
            raise DataError(
                f"expected {what} ids of the dataset, got {len(unknown)} unknown: {some}; "
                + ("give a history instead" if what == "user" else "leave them out")
            )
        return torch.tensor(rows, dtype=torch.int64)


def _find(ids: Sequence[Any] | pl.Series, known: pl.Series, *, what: str) -> list[int | None]:
    """The row of each id, None where it is unknown."""
    try:
        asked = pl.Series("id", list(ids), dtype=known.dtype, strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
        raise DataError(f"expected {what} ids of type {known.dtype}, got others: {error}") from error
    table = pl.DataFrame({"id": known, "row": pl.int_range(len(known), eager=True)})
    rows = pl.DataFrame({"id": asked}).join(table, on="id", how="left", maintain_order="left")["row"]
    return rows.to_list()
