"""Old rows and new ones under each other."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import polars.selectors as cs

from fuserec.data.sources.numbers import require_exact
from fuserec.errors import DataError

__all__ = ["stacked"]


def stacked(old: pl.DataFrame, new: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Both, one after the other; a column that one of them lacks is null there.

    Args:
        old: what the dataset has.
        new: what is added.
        path: of the file of the new rows, for the message.

    Raises:
        DataError: a column has two types that do not go together, or numbers that no type for both can hold.
    """
    # Each has words of its own, such as the names of its parts, and there is no type for both.
    words = cs.by_dtype(pl.Enum, pl.Categorical).cast(pl.String)
    try:
        both = pl.concat([old.with_columns(words), new.with_columns(words)], how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"expected columns of the types that the dataset has in {path}: {reason}") from error
    _require_exact(old, both, "the dataset")
    _require_exact(new, both, str(path))
    return both


def _require_exact(frame: pl.DataFrame, both: pl.DataFrame, place: str) -> None:
    for column in frame:
        kind = both[column.name].dtype
        if kind.is_numeric():
            require_exact(column, kind, lambda _: place)
