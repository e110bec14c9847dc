"""Which items may be shown at all: only these, not those, of these categories, none that is withdrawn.

Everything here is decided before the best are chosen, so a list is as long as was asked for wherever enough
items are left.

Shape legend
    I  items
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import torch
from torch import Tensor

from fuserec.data.categories import categories_of
from fuserec.data.ids import rows_of, series_of
from fuserec.errors import ConfigError, DataError, nearest
from fuserec.index.ids import close_ids
from fuserec.shapes import Bool, Int

__all__ = ["Filters", "known_rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a list may hold; an item must pass all that are given.

    Attributes:
        only: ids of the items that may be shown; None allows all.
        exclude: ids of items that may not.
        categories: an item must have at least one of them; None asks for none.
    """

    only: Sequence[Any] | pl.Series | None = None
    exclude: Sequence[Any] | pl.Series | None = None
    categories: Sequence[str] | None = None

    def candidates(self, items: pl.DataFrame) -> Bool[Tensor, " I"]:
        """(I,) True where an item of the catalogue passes.

        Args:
            items: I rows with ``item_id``, and ``category`` where the items have one.

        Raises:
            DataError: an item or a category is unknown, or the items have no categories.
            ConfigError: ``categories`` is one text instead of a list.
        """
        passed = torch.ones(items.height, dtype=torch.bool)
        if self.only is not None:
            passed = torch.zeros(items.height, dtype=torch.bool)
            passed[known_rows(self.only, items["item_id"], what="item", advice="leave them out")] = True
        if self.exclude is not None:
            passed[known_rows(self.exclude, items["item_id"], what="item", advice="leave them out")] = False
        if self.categories is not None:
            passed &= _of_categories(items, self.categories)
        return passed


def known_rows(
    ids: Sequence[Any] | pl.Series, known: pl.Series, *, what: str, advice: str
) -> Int[Tensor, " B"]:
    """(B,) the row of each id.

    Args:
        ids: B ids as people give them.
        known: the ids there are, row by row.
        what: ``"user"`` or ``"item"``, for the message.
        advice: what to do with an id that is unknown, for the message.

    Raises:
        DataError: an id is unknown; the first few are named, with those that look like the first of them.
    """
    asked = series_of(ids)
    rows = rows_of(asked, known)
    unknown = asked.filter(rows.is_null())
    if len(unknown):
        some = ", ".join(map(repr, unknown.head(5))) + (", ..." if len(unknown) > 5 else "")
        close = close_ids(unknown[0], known)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise DataError(
            f"expected {what} ids of the dataset, got {len(unknown)} unknown: {some}; {advice}{hint}"
        )
    return torch.from_numpy(rows.to_numpy(writable=True))


def _of_categories(items: pl.DataFrame, wanted: Sequence[str]) -> Bool[Tensor, " I"]:
    if isinstance(wanted, str):
        raise ConfigError(f"expected a list of categories, got the text {wanted!r}; write [{wanted!r}]")
    if "category" not in items.columns:
        raise DataError(
            "expected items with categories, but these have none; build the dataset from items with such a column"
        )
    each = categories_of(items)
    known = each.explode().drop_nulls().unique().to_list()
    for name in wanted:
        if name not in known:
            raise DataError(f"expected a category of the dataset, got {name!r}; {nearest(name, known)}")
    return torch.from_numpy(
        each.list.eval(pl.element().is_in(list(wanted))).list.any().to_numpy(writable=True)
    )
