"""JSON Lines: one object on a line, with its own types.

A column is of numbers only where every line has a number there; where types are mixed it is text, and nested
objects are text too, written as JSON. A key that a line lacks is a missing value.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fuserec.data.sources.compressed import plain_file
from fuserec.data.sources.table import Table
from fuserec.data.sources.text import CHUNK, NEWLINE, Bytes, read_bytes
from fuserec.errors import DataError

__all__ = ["JSONL_SUFFIXES", "read_jsonl"]

JSONL_SUFFIXES = (".jsonl", ".ndjson")

DEEPEST = 256
"""Levels of brackets on a line; some versions of the parser end the process at a few thousand."""

_LEVEL = np.zeros(256, dtype=np.int64)
_LEVEL[list(b"[{")], _LEVEL[list(b"]}")] = 1, -1
_SPACE = np.zeros(256, dtype=np.bool_)
_SPACE[[9, 13, 32]] = True
# Escapes that name no character: half of a surrogate pair, or a NUL. The parser would put a NUL for either.
_NO_CHARACTER = re.compile(
    rb"(?<!\\)(?:\\\\)*(\\u(?:0000|[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})))"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})(?<!\\)(?:\\\\)*(\\u[dD][c-fC-F][0-9a-fA-F]{2})"
)


def read_jsonl(path: Path) -> Table:
    """The table in a JSON Lines file, possibly compressed.

    Raises:
        DataError: the file is no UTF-8 text, has no line, or one that is no JSON object.
    """
    with plain_file(path) as plain:
        data = read_bytes(path, plain)
        numbers, num_lines = _lines(data)
        if not len(numbers):
            raise DataError(f"expected a JSON object on every line of {path}, but it is blank")
        _refuse_escapes(path, data)
        _refuse_depth(path, data)
        frame = _parse(path, data)
    if frame.height != len(numbers):
        raise DataError(
            f"expected {len(numbers)} JSON objects in {path}, one a line, but the parser finds {frame.height}"
        )
    for name in frame.columns:
        if "\0" in name:
            raise DataError(f"expected keys without a NUL in {path}, got {name!r}; rename it")
    return Table(
        path=path,
        frame=frame,
        numbers=numbers,
        is_text=False,
        blank_lines=num_lines - len(numbers),
    )


def _lines(data: Bytes) -> tuple[NDArray[np.int64], int]:
    """The numbers of the lines with something on them, from 1, and how many there are in all."""
    numbers = []
    before, last = 0, 0
    for start in range(0, len(data), CHUNK):
        chunk = np.asarray(data[start : start + CHUNK])
        newline = chunk == NEWLINE
        line = before + np.cumsum(newline) + 1
        written = np.unique(line[~newline & ~_SPACE[chunk]])
        # The line on which the last chunk ended goes on in this one.
        written = written[written > last]
        last = int(written[-1]) if len(written) else last
        numbers.append(written)
        before = int(line[-1]) - 1
    total = before + int(len(data) > 0 and data[-1] != NEWLINE)
    return np.concatenate([np.zeros(0, dtype=np.int64), *numbers]).astype(np.int64), total


def _refuse_escapes(path: Path, data: Bytes) -> None:
    """Raise at an escape for which there is no character."""
    found = _NO_CHARACTER.search(data.data)
    if found:
        line = 1 + int((data[: found.start()] == NEWLINE).sum())
        escape = (found[1] or found[2]).decode()
        raise DataError(
            f"expected characters, but {path}:{line} holds the escape {escape}, which names none; write the text anew"
        )


def _refuse_depth(path: Path, data: Bytes) -> None:
    """Raise at a line that opens many more brackets than it closes, those within texts among them."""
    level, line = 0, 1  # of what the chunk begins within
    for start in range(0, len(data), CHUNK):
        chunk = np.asarray(data[start : start + CHUNK])
        levels = level + np.cumsum(_LEVEL[chunk])
        ends = np.flatnonzero(chunk == NEWLINE)
        lines = np.searchsorted(ends, np.arange(len(chunk)))
        levels -= np.concatenate([[0], levels[ends]])[lines]
        deep = np.flatnonzero(levels > DEEPEST)
        if len(deep):
            raise DataError(
                f"expected objects of at most {DEEPEST} levels, but {path}:{line + int(lines[deep[0]])} opens more "
                "brackets than that; write the inner ones as text"
            )
        level, line = int(levels[-1]), line + len(ends)


def _is_plain(kind: Any) -> bool:  # a polars type, which beartype cannot take
    """Text, a number or a truth value, or a list of them."""
    if isinstance(kind, pl.List):
        kind = kind.inner
    return kind in (pl.String, pl.Null, pl.Boolean) or kind.is_integer() or kind.is_float()


def _parse(path: Path, data: Bytes) -> pl.DataFrame:
    """All lines; what is nested as text."""
    try:
        frame = pl.read_ndjson(io.BytesIO(data.data), infer_schema_length=None)
        nested = {name: pl.String() for name, kind in frame.schema.items() if not _is_plain(kind)}
        if nested:
            frame = pl.read_ndjson(io.BytesIO(data.data), schema={**frame.schema, **nested})
    except (pl.exceptions.PolarsError, OSError) as error:
        _refuse_first_bad_line(path, data)
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"expected a JSON object on every line of {path}, its values of the same types, but it cannot be read so "
            f"({reason})"
        ) from error
    return frame


def _refuse_first_bad_line(path: Path, data: Bytes) -> None:
    """Raise at the first line that is no JSON object; the parser does not tell which one it was."""
    for number, line in enumerate(io.BytesIO(data.data), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line.rstrip(), parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            reason = (
                f"column {error.colno}: {error.msg}"
                if isinstance(error, json.JSONDecodeError)
                else str(error)
            )
            raise DataError(
                f"expected a JSON object on every line, but {path}:{number} is none ({reason}); mend it"
            ) from error
        if not isinstance(value, dict):
            raise DataError(
                f"expected a JSON object on every line, but {path}:{number} holds another value; write one object a line"
            )


def _no_number(name: str) -> None:
    raise ValueError(f"JSON knows no {name}; write null")
