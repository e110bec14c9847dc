"""One table in several files: a folder of parts, or a pattern such as ``logs/*.csv.gz``."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fuserec.data.sources.compressed import plain_suffix
from fuserec.data.sources.formats import is_table, read_table
from fuserec.data.sources.jsonl import JSONL_SUFFIXES
from fuserec.data.sources.numbers import require_exact
from fuserec.data.sources.table import Table
from fuserec.errors import DataError

__all__ = ["find_parts", "read_parts"]


def find_parts(path: Path) -> tuple[Path, ...]:
    """The files of a table, in the order of their names: the file itself, or what is in the folder or fits the pattern.

    Files whose name begins with ``.`` or ``_`` are none of them (Spark and Hadoop leave such marks).

    Raises:
        DataError: there is none, or one of another format than the first.
    """
    try:
        if path.is_dir():
            found = [child for child in path.iterdir() if child.name[0] not in "._"]
        elif any(mark in str(path) for mark in "*?[") and not path.exists():
            found = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207 (may be absolute)
        else:
            return (path,)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if not found:
        raise DataError(f"expected at least one file in {path}, found none")
    found.sort()
    for child in found:
        if child.is_dir() or not is_table(child):
            raise DataError(
                f"expected tables only in {path}, but {child.name} is none; name the files by a pattern in quotes"
            )
        if plain_suffix(child) != plain_suffix(found[0]):
            raise DataError(
                f"expected parts of one format in {path}, but there are {found[0].name} and {child.name}; "
                "name the file that is the log, or a pattern"
            )
    return tuple(found)


def read_parts(path: Path) -> Table:
    """The table of all parts, one after the other.

    Raises:
        DataError: a part cannot be read, or has other columns or types than the first.
    """
    parts = find_parts(path)
    if parts == (path,):
        return read_table(path)
    tables = [read_table(part) for part in parts]
    frame = _stacked(tables, may_lack=plain_suffix(parts[0]) in JSONL_SUFFIXES)
    folder = Path(os.path.commonpath([part.parent for part in parts]))
    heights = [table.frame.height for table in tables]
    return Table(
        path=path,
        frame=frame,
        numbers=np.concatenate([table.numbers for table in tables]),
        is_text=tables[0].is_text,
        has_lines=tables[0].has_lines,
        blank_lines=sum(table.blank_lines for table in tables),
        files=[part.relative_to(folder).as_posix() for part in parts],
        starts=[0, *accumulate(heights[:-1])],
    )


def _stacked(tables: Sequence[Table], *, may_lack: bool) -> pl.DataFrame:
    """The rows of all tables under the columns of the first; of all where a part may lack some of them."""
    names = tables[0].frame.columns
    for table in tables[1:]:
        if may_lack:
            names = [*names, *(name for name in table.frame.columns if name not in names)]
        elif set(table.frame.columns) != set(names):
            others = sorted(set(names) ^ set(table.frame.columns))
            raise DataError(
                f"expected the same columns in every part, but {table.path.name} differs from {tables[0].path.name} "
                f"in {', '.join(map(repr, others))}"
            )
    types = {name: _one_type(name, tables) for name in names}
    for table in tables:
        for column in table.frame:
            require_exact(column, types[column.name], table.where)
    frames = [
        table.frame.select(
            (pl.col(name) if name in table.frame.columns else pl.lit(None)).cast(kind).alias(name)
            for name, kind in types.items()
        )
        if table.frame.height
        else pl.DataFrame(schema=types)
        for table in tables
    ]
    return pl.concat(frames, rechunk=False)


def _one_type(name: str, tables: Sequence[Table]) -> Any:  # a polars type, which beartype cannot take
    """The type of a column in all parts: a part without a value has any, and numbers may be whole or not."""
    types: dict[pl.DataType, str] = {}
    for table in tables:
        kind = table.frame.schema.get(name, pl.Null())
        if kind != pl.Null():
            types.setdefault(kind, table.path.name)
    if not types:
        return pl.Null()
    # Decimals are neither, and a column of either would lose some of their digits.
    if len(types) > 1 and all(kind.is_integer() or kind.is_float() for kind in types):
        return pl.Float64() if any(kind.is_float() for kind in types) else pl.Int64()
    if len(types) > 1:
        (first, here), (other, there) = list(types.items())[:2]
        raise DataError(
            f"expected one type in the column {name!r} of all parts, but it is {first} in {here} and {other} in {there}"
        )
    return next(iter(types))
