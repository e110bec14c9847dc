"""Atomic files of RecBole: separated by tabs, and every name in the header followed by its type.

``token`` is one word, ``token_seq`` several with a space between them, ``float`` a number, ``float_seq`` several.
A token stays the text it is, also where it looks like an integer, since the file says so; so does a token_seq.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from fuserec.data.sources.csv import read_csv
from fuserec.data.sources.table import Table
from fuserec.errors import DataError, nearest

__all__ = ["ATOMIC_SUFFIXES", "read_atomic"]

ATOMIC_SUFFIXES = (".inter", ".item", ".user")

_TYPES = ("token", "token_seq", "float", "float_seq")


def read_atomic(path: Path) -> Table:
    """The table in an atomic file, possibly compressed, with the types that its header declares.

    Raises:
        DataError: the file is no such text, a column has no known type, or a value is not of it.
    """
    table = read_csv(path, separator="\t")
    columns: list[pl.Series] = []
    for column in table.frame:
        name, _, kind = column.name.rpartition(":")
        if not name:
            raise DataError(f"expected NAME:TYPE for every column of {path}, got {column.name!r}")
        if kind not in _TYPES:
            raise DataError(f"no type {kind!r} of column {name!r} in {path}; {nearest(kind, _TYPES)}")
        if name in (other.name for other in columns):
            raise DataError(f"expected every column of {path} once, but {name!r} is named twice")
        columns.append(_typed(table, column, kind).alias(name))
    return replace(table, frame=pl.DataFrame(columns), is_text=False)


def _typed(table: Table, column: pl.Series, kind: str) -> pl.Series:
    if kind == "float":
        numbers = _numbers(column.str.strip_chars())
        wrong = numbers.is_null() & column.is_not_null()
    elif kind == "float_seq":
        words = column.str.strip_chars().str.split(" ")
        numbers = words.list.eval(pl.element().cast(pl.Float64, strict=False))
        wrong = numbers.list.eval(pl.element().is_null()).list.any().fill_null(value=False)
    else:
        return column
    if wrong.any():
        row = int(np.flatnonzero(wrong.to_numpy())[0])
        raise DataError(
            f"expected numbers in the column {column.name!r}, but {table.where(row)} has {column[row]!r}; "
            "mend it, or declare the column as token"
        )
    return numbers


def _numbers(column: pl.Series) -> pl.Series:
    """Integers where all are, so that times and counts stay exact; else floats; null where it is neither."""
    integers = column.cast(pl.Int64, strict=False)
    if integers.null_count() == column.null_count():
        return integers
    return column.cast(pl.Float64, strict=False)
