"""Recommendations as one answer to each user: what people and JSON want, where a table wants rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from fuserec.index.filters import Filters
from fuserec.index.recommend import Recommender

__all__ = ["Answer", "SimilarItems", "answers", "similar_items"]

_TOLD = ("item_id", "title", "category")
"""Columns of an item that an answer tells, where there are any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one user gets.

    Attributes:
        user_id: who asked.
        source: ``"model"``, ``"history"``, ``"start"`` or ``"popularity"``; see `Recommender.recommend`.
        lately: what they had, the latest first: ``item_id``, ``title`` and ``category`` where there are any.
        unknown_items: items of their history that the catalogue does not hold; they were left out.
        items: what they get, the best first: the same with ``rank`` and ``score``.
    """

    user_id: Any
    source: str
    lately: list[dict[str, Any]]
    unknown_items: list[Any]
    items: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarItems:
    """What is like one item.

    Attributes:
        item: the one that was asked for: ``item_id``, ``title`` and ``category`` where there are any.
        items: those most similar to it, the best first: the same with ``rank`` and ``score``.
    """

    item: dict[str, Any]
    items: list[dict[str, Any]]


def answers(
    recommender: Recommender,
    users: Sequence[Any] | pl.Series | None = None,
    *,
    histories: Sequence[Sequence[Any]] | None = None,
    k: int = 10,
    filter_viewed: bool | None = None,
    filters: Filters | None = None,
    lately: int = 5,
) -> Iterator[Answer]:
    """An answer for everyone who asks, also where nothing is left to recommend.

    The options are those of `Recommender.recommend`, with two differences: the filters come as one, and unknown
    items of a history are left out and told in the answer.

    Args:
        recommender: makes the recommendations.
        users: see there.
        histories: see there.
        k: see there.
        filter_viewed: see there.
        filters: which items may be recommended; None allows all.
        lately: how many items of the history an answer tells.

    Raises:
        DataError: a user, or an item or category of the filters, is unknown.
        ConfigError: ``k`` is below 1, or users and histories differ in number.
    """
    unknown: list[list[Any]] = []
    if histories is not None:
        sorted_out = [recommender.known_items(history) for history in histories]
        histories, unknown = [known for known, _ in sorted_out], [missing for _, missing in sorted_out]
    ranked = recommender.ranked(users, histories=histories, k=k, filter_viewed=filter_viewed, filters=filters)
    told = _told(recommender)
    frame = ranked.frame.select("query", "rank", "item_id", "score").join(
        told, on="item_id", how="left", maintain_order="left"
    )
    parts = frame.partition_by("query", as_dict=True, include_key=False)
    for query, (user, source) in enumerate(zip(ranked.labels, ranked.sources, strict=True)):
        had = ranked.queries.histories
        rows = had.items[had.offsets[query] : had.offsets[query + 1]].flip(0)[:lately]
        part = parts.get((query,))
        yield Answer(
            user_id=user,
            source=source,
            lately=told[rows.numpy()].to_dicts(),
            unknown_items=unknown[query] if unknown else [],
            items=[] if part is None else part.to_dicts(),
        )


def similar_items(
    recommender: Recommender, item: Any, *, k: int = 10, filters: Filters | None = None
) -> SimilarItems:
    """The items most similar to one, as one answer.

    Args:
        recommender: knows the items.
        item: its id.
        k: fewer items are given where fewer are left.
        filters: which items may be shown; None allows all.

    Raises:
        DataError: see `Recommender.similar`.
        ConfigError: see there.
    """
    row, ranking = recommender.ranked_similar(item, k=k, filters=filters)
    told = _told(recommender)
    others = told[ranking.items.numpy()].select(
        pl.Series("rank", ranking.ranks.numpy()),
        pl.col("item_id"),
        pl.Series("score", ranking.scores.numpy()),
        pl.exclude("item_id"),
    )
    return SimilarItems(item=told.row(row, named=True), items=others.to_dicts())


def _told(recommender: Recommender) -> pl.DataFrame:
    """What is told of an item, row by row."""
    return recommender.items.select(name for name in _TOLD if name in recommender.items.columns)
