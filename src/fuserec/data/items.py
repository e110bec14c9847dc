"""The catalogue: one row an item, in the order of the items file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from fuserec.data.columns import ItemColumns
from fuserec.data.ids import as_ids
from fuserec.data.report import places
from fuserec.data.sources.table import Table
from fuserec.errors import DataError

__all__ = ["Catalogue", "keep_names_apart", "read_catalogue"]

_OWN = ("row", "item_id")
_ANSWERS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
"""How a catalogue may write whether an item is available, without regard to case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Items as they stand in their file.

    Attributes:
        ids: (I,) original ids, each once.
        content: I rows of all other columns: ``title``, ``category``, ``text``, ``image`` and ``available``
            under those names, the rest under their own. ``available`` is Boolean and never null.
    """

    ids: pl.Series
    content: pl.DataFrame


def read_catalogue(table: Table, columns: ItemColumns) -> Catalogue:
    """Check the ids of an items table and name its columns by their roles.

    Raises:
        DataError: an id is missing or stands there twice, or ``available`` holds something else than yes or no.
    """
    ids = as_ids(table, columns.item)
    if not len(ids):
        raise DataError(f"expected at least one item in {table.path}, found none below the header")
    missing = np.flatnonzero(ids.is_null().to_numpy())
    if len(missing):
        some = ", ".join(places(table, missing.tolist()))
        raise DataError(
            f"expected an id for every item of {table.path}, but {len(missing)} rows have none ({some})"
        )
    _refuse_twice(table, ids)
    roles = {column: role for role, column in columns.content.items()}
    content = table.frame.drop(columns.item)
    taken = (*_OWN, *roles.values())
    content = keep_names_apart(content, taken, besides=roles).rename(roles)
    if "available" in columns.content:
        content = content.with_columns(_availability(table, columns.content["available"]))
    return Catalogue(ids=ids, content=content)


def _availability(table: Table, column: str) -> pl.Series:
    """``available`` as Boolean; a word that is none of those known is refused with its lines."""
    written = table.frame[column].cast(pl.String).str.strip_chars().str.to_lowercase()
    answers = written.replace_strict(_ANSWERS, default=None, return_dtype=pl.Boolean)
    wrong = np.flatnonzero(answers.is_null().to_numpy())
    if len(wrong):
        first = table.frame[column][int(wrong[0])]
        some = ", ".join(places(table, wrong.tolist()))
        raise DataError(
            f"expected true or false, 1 or 0, yes or no in column {column!r} of {table.path}, but "
            f"{'it is empty' if first is None else f'it is {first!r}'} in {some}; write one of them, "
            "or say --columns available= where the column means something else"
        )
    return answers.alias("available")


def keep_names_apart(frame: pl.DataFrame, taken: tuple[str, ...], *, besides: dict[str, str]) -> pl.DataFrame:
    """Columns with a name that the dataset takes for itself get ``_original`` behind it."""
    names = set(frame.columns)
    renamed = {}
    for name in frame.columns:
        if name in taken and name not in besides:
            new = name
            while new in names or new in taken:
                new += "_original"
            renamed[name] = new
            names.add(new)
    return frame.rename(renamed)


def _refuse_twice(table: Table, ids: pl.Series) -> None:
    """Raise at the first id that stands there again, naming it and its lines."""
    again = ids.filter(~ids.is_first_distinct())
    if len(again):
        first = again[0]
        rows = np.flatnonzero((ids == first).to_numpy()).tolist()
        raise DataError(
            f"expected every item of {table.path} once, but {again.n_unique()} ids are there more than once: "
            f"{first!r} ({', '.join(places(table, rows))})" + (", ..." if again.n_unique() > 1 else "")
        )
