"""CSV and TSV files: UTF-8, a header line, quoted as in RFC 4180 where any field begins with a quote.

Every value is read as text, so that no id is mangled. A first pass over the bytes finds the line on which
each record begins and refuses what a parser would pass over: records with too few fields, bytes that are
no UTF-8, quotes that end nowhere.
"""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fuserec.data.sources.compressed import plain_file
from fuserec.data.sources.table import Table
from fuserec.data.sources.text import CHUNK, NEWLINE, RETURN, Bytes, read_bytes
from fuserec.errors import DataError

__all__ = ["SEPARATORS", "read_csv"]

SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}

_CHUNK = CHUNK
_QUOTE = 34


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where records stand: (R,) first line, number of fields, whether blank; header end in bytes."""

    lines: NDArray[np.int64]
    fields: NDArray[np.int64]
    blank: NDArray[np.bool_]
    header_end: int
    quoted: bool


def read_csv(path: Path, *, separator: str) -> Table:
    """The table in a text file, possibly compressed, whose first line names the columns.

    Raises:
        DataError: the file is no UTF-8 text, has no header, names a column twice, or has a record with
            another number of fields than the header.
    """
    with plain_file(path) as plain:
        data = read_bytes(path, plain, chunk_size=_CHUNK)
        if not len(data):
            raise DataError(f"expected the first line of {path} to name the columns, but it is blank")
        layout = _scan(path, data, ord(separator))
        names = _header(path, bytes(data[: layout.header_end]), separator, quoted=layout.quoted)
        _refuse_ragged(path, layout, names)
        frame = _parse(path, plain, separator, layout)
    return Table(
        path=path,
        frame=frame,
        numbers=layout.lines[1:][~layout.blank[1:]],
        is_text=True,
        blank_lines=int(layout.blank.sum()),
    )


def _scan(path: Path, data: Bytes, separator: int) -> _Layout:
    """Find the records of a text file, chunk by chunk."""
    quoted = _has_quoted_fields(data, separator)
    ends, separators, newlines = [], [], []
    inside, separators_before, lines_before = 0, 0, 0
    for start in range(0, len(data), _CHUNK):
        chunk = np.asarray(data[start : start + _CHUNK])
        newline, divider = chunk == NEWLINE, chunk == separator
        line_counts = lines_before + newline.cumsum()
        if quoted:
            within = (inside + (chunk == _QUOTE).cumsum()) & 1
            before = int(data[start - 1]) if start else NEWLINE
            _refuse_stray_quotes(path, chunk, within, (inside, before), separator, line_counts)
            inside = int(within[-1])
            record, divider = newline & (within == 0), divider & (within == 0)
        else:
            record = newline
        _refuse_stray_returns(path, data, start, chunk, line_counts, within if quoted else None)
        divider_counts = separators_before + divider.cumsum()
        at = np.flatnonzero(record)
        ends.append(at + start)
        separators.append(divider_counts[at])
        newlines.append(line_counts[at])
        separators_before, lines_before = int(divider_counts[-1]), int(line_counts[-1])
    if inside:
        raise DataError(f"expected every quote in {path} to be closed, but the last one is not")
    if data[-1] != NEWLINE:
        ends.append(np.array([len(data)]))
        separators.append(np.array([separators_before]))
        newlines.append(np.array([lines_before + 1]))
    return _layout(
        data, np.concatenate(ends), np.concatenate(separators), np.concatenate(newlines), quoted=quoted
    )


def _layout(
    data: Bytes,
    ends: NDArray[np.int64],
    separators: NDArray[np.int64],
    newlines: NDArray[np.int64],
    *,
    quoted: bool,
) -> _Layout:
    """The layout from running totals at the end of each record."""
    starts = np.concatenate([[0], ends[:-1] + 1])
    length = ends - starts
    blank = (length == 0) | ((length == 1) & (data[starts.clip(max=len(data) - 1)] == RETURN))
    return _Layout(
        lines=np.concatenate([[1], newlines[:-1] + 1]),
        fields=np.diff(separators, prepend=0) + 1,
        blank=blank,
        header_end=int(ends[0]),
        quoted=quoted,
    )


def _has_quoted_fields(data: Bytes, separator: int) -> bool:
    """Whether any field begins with a quote; if none does, quotes are plain characters."""
    if data[0] == _QUOTE:
        return True
    for begin in range(0, len(data), _CHUNK):
        chunk = data[begin : begin + _CHUNK + 1]
        opens = (chunk[:-1] == separator) | (chunk[:-1] == NEWLINE)
        if bool((opens & (chunk[1:] == _QUOTE)).any()):
            return True
    return False


def _refuse_stray_quotes(
    path: Path,
    chunk: Bytes,
    within: NDArray[np.int64],
    state: tuple[int, int],
    separator: int,
    line_counts: NDArray[np.int64],
) -> None:
    """Raise at a quote that opens inside a field, or text that follows a closed one."""
    inside, before = state
    previous = np.concatenate([[before], chunk[:-1]])
    outside_before = np.concatenate([[inside], within[:-1]]) == 0
    opens = outside_before & (chunk == _QUOTE) & ~np.isin(previous, [separator, NEWLINE, _QUOTE])
    trails = outside_before & (previous == _QUOTE) & ~np.isin(chunk, [separator, NEWLINE, RETURN, _QUOTE])
    wrong = np.flatnonzero(opens | trails)
    if len(wrong):
        line = int(line_counts[wrong[0]]) + 1
        raise DataError(
            f"expected a quote only around a whole field, but {path}:{line} has one inside; "
            'quote the field and write the quote twice ("")'
        )


def _refuse_stray_returns(
    path: Path,
    data: Bytes,
    start: int,
    chunk: Bytes,
    line_counts: NDArray[np.int64],
    within: NDArray[np.int64] | None,
) -> None:
    """Raise at a carriage return that ends no line: parsers disagree on what it means."""
    lone = chunk == RETURN
    if not lone.any():
        return
    lone[:-1] &= chunk[1:] != NEWLINE
    after = start + len(chunk)
    lone[-1] &= after >= len(data) or data[after] != NEWLINE
    if within is not None:
        lone &= within == 0
    if lone.any():
        line = int(line_counts[np.flatnonzero(lone)[0]]) + 1
        raise DataError(
            f"expected lines to end in a newline, but {path}:{line} holds a lone carriage return; "
            "write the file with newlines"
        )


def _header(path: Path, line: bytes, separator: str, *, quoted: bool) -> list[str]:
    """The names of the columns."""
    text = line.decode().rstrip("\r\n")
    if not text.strip():
        raise DataError(f"expected the first line of {path} to name the columns, but it is blank")
    names = next(csv.reader([text], delimiter=separator)) if quoted else text.split(separator)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"expected every column of {path} once, but {twice[0]!r} is named twice")
    return names


def _refuse_ragged(path: Path, layout: _Layout, names: list[str]) -> None:
    """Raise at the first record whose number of fields is not the header's."""
    wrong = np.flatnonzero((layout.fields != len(names)) & ~layout.blank)
    if len(wrong):
        first = int(wrong[0])
        raise DataError(
            f"expected {len(names)} fields on every line, but {path}:{layout.lines[first]} has {layout.fields[first]} "
            f"({len(wrong)} such lines)"
        )


def _parse(path: Path, plain: Path, separator: str, layout: _Layout) -> pl.DataFrame:
    """All values as text; an empty field is null."""
    try:
        frame = pl.read_csv(
            plain.resolve(),
            separator=separator,
            quote_char='"' if layout.quoted else None,
            infer_schema=False,
            glob=False,
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"cannot read {path}: {str(error).splitlines()[0]}") from error
    if frame.height != len(layout.lines) - 1:
        raise DataError(
            f"expected {len(layout.lines) - 1} records in {path}, but the parser finds {frame.height}; "
            "look for quotes and line ends that do not match"
        )
    return frame.filter(~layout.blank[1:]) if layout.blank.any() else frame
