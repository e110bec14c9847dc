"""Original ids: text or integers, end to end.

A text file knows no types, so a column of it is integer only where every value is written exactly as an
integer is (no leading zero, no plus, no more than 64 bits) and can be written back to the byte. Everything
else stays the text it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fuserec.data.sources.table import Table
from fuserec.errors import DataError

__all__ = ["as_ids", "from_array", "rows_of", "same_type", "series_of", "to_type_of", "typed_ids"]

_CANONICAL = r"^(?:0|-?[1-9][0-9]{0,18})$"


def as_ids(table: Table, column: str) -> pl.Series:
    """A column of ids as Int64 or String; null where the id is missing or blank.

    Raises:
        DataError: the column holds neither text nor integers.
    """
    ids = table.frame[column]
    if ids.dtype in (pl.Categorical, pl.Enum):
        ids = ids.cast(pl.String)
    if ids.dtype == pl.Null:
        return ids.cast(pl.String)
    if ids.dtype.is_integer():
        return _as_int64(ids, table, column)
    if ids.dtype != pl.String:
        raise DataError(
            f"expected text or integers in column {column!r} of {table.path}, got {ids.dtype}; "
            "convert the ids before, since the other types do not keep every id exact"
        )
    ids = ids.set(ids.str.strip_chars() == "", None)
    integers = _exact_integers(ids) if table.is_text else None
    return ids if integers is None else integers


def from_array(array: NDArray[np.generic], what: str) -> pl.Series:
    """Ids from a numpy array of integers or fixed-width text.

    Raises:
        DataError: the array is not one-dimensional, or of another type.
    """
    if array.ndim != 1 or array.dtype.kind not in "iuU":
        raise DataError(
            f"expected {what} to be a list of integers or text, got {array.dtype} of shape {array.shape}"
        )
    kind = pl.String if array.dtype.kind == "U" else pl.Int64
    try:
        return pl.Series("id", array).cast(kind)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"expected integers below 2**63 in {what}, got greater ones") from error


def same_type(events: pl.Series, items: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Both columns in one type: that of the items where the events' ids can be read so, else text.

    Example:
        >>> events, items = same_type(pl.Series(["1", "02"]), pl.Series([1, 2]))
        >>> events.to_list(), items.to_list()
        (['1', '02'], ['1', '2'])
    """
    if events.dtype == items.dtype:
        return events, items
    if items.dtype == pl.Int64:
        integers = _exact_integers(events)
        if integers is not None:
            return integers, items
    return events.cast(pl.String), items.cast(pl.String)


def to_type_of(known: pl.Series, ids: pl.Series) -> pl.Series:
    """Ids in the type of the known ones; null where an id cannot be one of that type.

    Example:
        >>> to_type_of(pl.Series([1, 2]), pl.Series(["7", "007"])).to_list()
        [7, None]
    """
    if ids.dtype == known.dtype:
        return ids
    if known.dtype == pl.Int64 and ids.dtype == pl.String:
        canonical = ids.str.contains(_CANONICAL)
        return ids.set(~canonical.fill_null(value=True), None).cast(pl.Int64, strict=False)
    return ids.cast(known.dtype, strict=False)


def typed_ids(known: pl.Series, ids: pl.Series, what: str, path: Path, *, remedy: str) -> pl.Series:
    """Ids of a file in the type that a dataset has; a missing one stays null.

    Args:
        known: of the dataset.
        ids: of the file.
        what: they are ids of, for the message.
        path: of the file, for the message.
        remedy: what to do about others, for the message.

    Raises:
        DataError: an id cannot be of that type.
    """
    typed = to_type_of(known, ids)
    lost = ids.filter(typed.is_null() & ids.is_not_null())
    if len(lost):
        raise DataError(
            f"expected integers as ids of {what} in {path}, as the dataset has them, got {lost[0]!r}; {remedy}"
        )
    return typed


def rows_of(ids: pl.Series, known: pl.Series) -> pl.Series:
    """The position of each id among the known ones; null where it is unknown or null."""
    table = pl.DataFrame({"id": known, "row": pl.int_range(len(known), eager=True, dtype=pl.Int64)})
    asked = pl.DataFrame({"id": to_type_of(known, ids)})
    return asked.join(table, on="id", how="left", maintain_order="left")["row"]


def series_of(ids: pl.Series | Iterable[str | int]) -> pl.Series:
    """Ids given in Python as a column.

    Raises:
        DataError: they are neither all text nor all integers.
    """
    if isinstance(ids, str):
        # Its letters would be taken as ids.
        raise DataError(f"expected a list of ids, got the text {ids!r}; write [{ids!r}]")
    if isinstance(ids, pl.Series):
        series = ids
    else:
        values = list(ids)
        if not values:
            return pl.Series("id", [], dtype=pl.String)
        try:
            series = pl.Series("id", values, strict=True)
        except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
            reason = str(error).partition("\n")[0]
            raise DataError(f"expected ids that are all text or all integers: {reason}") from error
    if series.dtype != pl.String and not series.dtype.is_integer():
        raise DataError(f"expected ids that are text or integers, got {series.dtype}")
    return series


def _as_int64(ids: pl.Series, table: Table, column: str) -> pl.Series:
    try:
        return ids.cast(pl.Int64)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"expected ids below 2**63 in column {column!r} of {table.path}, got greater ones; store them as text"
        ) from error


def _exact_integers(ids: pl.Series) -> pl.Series | None:
    """The column as Int64, or None where a value would not come back as it was written."""
    if not ids.str.contains(_CANONICAL).all():
        return None
    integers = ids.cast(pl.Int64, strict=False)
    return integers if integers.null_count() == ids.null_count() else None
