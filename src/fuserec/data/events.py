"""Events: every row of the log is kept, or rejected for one reason that is counted and told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fuserec.data.columns import EventColumns
from fuserec.data.ids import rows_of
from fuserec.data.items import keep_names_apart
from fuserec.data.odd_times import odd_times
from fuserec.data.report import count, places, rejection
from fuserec.data.schema import BuildOptions, Finding
from fuserec.data.sources.table import Table
from fuserec.data.times import PROBLEMS, Times, read_times
from fuserec.errors import DataError, nearest

__all__ = ["Events", "clean_events", "rejected_rows"]

_OWN = ("user", "item", "time", "rating", "type", "file", "line")
_DUPLICATE = "a duplicate of an earlier event"

_Rows = NDArray[np.int64]
_Codes = NDArray[np.int8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """What is left of a log, and what is not.

    Attributes:
        kept: original ids ``user`` and ``item``, ``time`` (seconds), ``rating`` and ``type`` where there are
            any, ``file`` where there are several, ``line`` in it, and all other columns; by time, and by the
            order of the input within it.
        rows: (kept,) Int64 row of the table of each kept event.
        instants: (kept,) Int64 microseconds UTC; None without times.
        rejected: ``file`` where there are several, ``line``, ``reason``, and the rejected rows as they stand.
        findings: what was noticed.
    """

    kept: pl.DataFrame
    rows: pl.Series
    instants: pl.Series | None
    rejected: pl.DataFrame
    findings: tuple[Finding, ...]


def clean_events(
    table: Table,
    columns: EventColumns,
    *,
    users: pl.Series,
    items: pl.Series,
    known_items: pl.Series | None,
    options: BuildOptions,
) -> Events:
    """Keep what can be used and say why the rest cannot.

    Args:
        table: the log.
        columns: its roles.
        users: (rows,) user ids, null where missing.
        items: (rows,) item ids, null where missing.
        known_items: the catalogue, of the same type; None takes every item as known.
        options: the smallest rating, types, repeats, the unit of times.

    Raises:
        DataError: no event is left, or a type that is asked for is none.
    """
    if not table.frame.height:
        raise DataError(f"expected at least one event in {table.path}, found none below the header")
    times = None if columns.time is None else read_times(table.frame[columns.time], options.time_unit)
    rating = None if columns.rating is None else _rating(table.frame[columns.rating])
    reasons = _reasons(table, columns, users, items, times, rating, known_items, options)
    codes = _first_reasons(table.frame.height, reasons)
    rows, repeated = _in_order(codes, users, items, times, drop=options.repeats == "drop")
    if options.repeats == "drop":
        codes[repeated] = len(reasons)
    names = [*(reason for reason, _ in reasons), _DUPLICATE]
    findings = [*_rejections(table, codes, names), *_notes(table, columns, rows, times, rating, options)]
    if len(repeated) and options.repeats == "keep":
        message = (
            f"{count(len(repeated), 'event')} of an item that the user has had; kept, as --repeats keep asks"
        )
        where = places(table, repeated[:5].tolist())
        findings.append(Finding(kind="repeat", count=len(repeated), message=message, where=where))
    left_out = pl.Series("row", np.flatnonzero(codes >= 0))
    why = pl.Series("reason", names).gather(codes[left_out])
    if not len(rows):
        told = "; ".join(finding.line() for finding in findings if finding.rejected)
        raise DataError(f"no event of {table.path} is left: {told}")
    kept = [users.gather(rows).alias("user"), items.gather(rows).alias("item")]
    instants = None if times is None else times.instants.gather(rows)
    if instants is not None:
        kept.append((instants // 1_000_000).alias("time"))
    if rating is not None:
        kept.append(rating.gather(rows).alias("rating"))
    if columns.type is not None:
        kept.append(table.frame[columns.type].gather(rows).alias("type"))
    kept += [column.gather(rows) for column in table.places()]
    return Events(
        kept=pl.DataFrame(kept).hstack(
            _others(table, columns, times).select(pl.all().gather(rows)).get_columns()
        ),
        rows=pl.Series("row", rows),
        instants=instants,
        rejected=rejected_rows(table, left_out, why),
        findings=tuple(findings),
    )


def _in_order(
    codes: _Codes, users: pl.Series, items: pl.Series, times: Times | None, *, drop: bool
) -> tuple[_Rows, _Rows]:
    """The rows that are kept in their order, and the rows of repeats."""
    rows: _Rows = np.flatnonzero(codes < 0)
    if times is not None:
        rows = rows[np.argsort(times.instants.gather(rows).to_numpy(), kind="stable")]
    # One number a pair: far quicker to compare than a pair of ids.
    known_users, known_items = users.unique(), items.unique()
    pairs = rows_of(users, known_users) * len(known_items) + rows_of(items, known_items)
    first = pairs.gather(rows).is_first_distinct().to_numpy()
    return rows[first] if drop else rows, np.sort(rows[~first])


def _others(table: Table, columns: EventColumns, times: Times | None) -> pl.DataFrame:
    """The columns without a role; that of the times too, unless whole seconds say all that it holds."""
    named = {columns.user, columns.item, columns.rating, columns.type, *columns.splits}
    if times is not None and times.exact:
        named.add(columns.time)
    others = table.frame.select(name for name in table.frame.columns if name not in named)
    taken = {*_OWN} - ({"type"} if columns.type is None else set()) - ({"file"} if not table.files else set())
    return keep_names_apart(others, tuple(taken), besides={})


def _rating(column: pl.Series) -> pl.Series:
    if column.dtype not in (pl.String, pl.Null) and not column.dtype.is_numeric():
        raise DataError(f"expected ratings as numbers in column {column.name!r}, got {column.dtype}")
    return column.cast(pl.Float64, strict=False).fill_nan(None)


def _reasons(
    table: Table,
    columns: EventColumns,
    users: pl.Series,
    items: pl.Series,
    times: Times | None,
    rating: pl.Series | None,
    known_items: pl.Series | None,
    options: BuildOptions,
) -> list[tuple[str, pl.Series]]:
    """Why a row may be unusable, each reason with the rows for which it holds."""
    reasons = [("a missing user", users.is_null()), ("a missing item", items.is_null())]
    if columns.type is not None and options.types:
        reasons += _type_reasons(table, table.frame[columns.type], options.types)
    if times is not None:
        reasons += [(problem, (times.problems == problem).fill_null(value=False)) for problem in PROBLEMS]
    if rating is not None and columns.rating is not None:
        raw = table.frame[columns.rating]
        given = raw.is_not_nan() & raw.is_not_null() if raw.dtype.is_float() else raw.is_not_null()
        reasons.append(("a rating that is not a number", given & ~rating.is_finite().fill_null(value=False)))
        if options.min_rating is not None:
            reasons.append(("a missing rating", ~given))
            low = (rating < options.min_rating).fill_null(value=False)
            reasons.append((f"a rating under {options.min_rating:g}", low))
    elif options.min_rating is not None:
        raise DataError(
            f"--min-rating needs a rating column, but {table.path} has none; say which with --columns rating=..."
        )
    if known_items is not None:
        reasons.append(("the item is not in the items file", ~items.is_in(known_items.implode())))
    return reasons


def _type_reasons(table: Table, column: pl.Series, types: Sequence[str]) -> list[tuple[str, pl.Series]]:
    """Rows without a type, and of a type that is not asked for."""
    try:
        given = column.cast(pl.String)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"expected types as text in column {column.name!r}, got {column.dtype}") from error
    known = given.unique().drop_nulls().to_list()
    for name in types:
        if name not in known:
            raise DataError(f"no event of {table.path} is of the type {name!r}; {nearest(name, known)}")
    return [
        ("a missing type", given.is_null()),
        (f"a type other than {' or '.join(types)}", ~given.is_in(list(types)).fill_null(value=True)),
    ]


def _first_reasons(height: int, reasons: Sequence[tuple[str, pl.Series]]) -> _Codes:
    """(rows,) the number of the first reason that holds; -1 where none does."""
    codes: _Codes = np.full(height, -1, dtype=np.int8)
    for code, (_, holds) in enumerate(reasons):
        codes[holds.fill_null(value=False).to_numpy() & (codes < 0)] = code
    return codes


def _rejections(table: Table, codes: _Codes, names: Sequence[str]) -> list[Finding]:
    """One finding a reason, in the order of the first row it concerns."""
    found = [(np.flatnonzero(codes == code), name) for code, name in enumerate(names)]
    found = sorted(((rows, name) for rows, name in found if len(rows)), key=lambda pair: int(pair[0][0]))
    return [rejection(table, name, len(rows), rows[:8].tolist()) for rows, name in found]


def _notes(
    table: Table,
    columns: EventColumns,
    rows: _Rows,
    times: Times | None,
    rating: pl.Series | None,
    options: BuildOptions,
) -> list[Finding]:
    """What was noticed besides; ``rows`` are those kept."""
    notes = []
    if table.blank_lines:
        message = f"{count(table.blank_lines, 'blank line')} in {table.path.name} passed over"
        notes.append(Finding(kind="blank line", count=table.blank_lines, message=message))
    if times is not None and times.guessed:
        message = (
            f"the times in column {columns.time!r} are taken as {times.unit}, since in seconds they would lie "
            f"after 2199; pass --time-unit {times.unit} to say so"
        )
        notes.append(
            Finding(kind="time unit", count=table.frame.height, message=message, refused_by_strict=True)
        )
    if times is not None and columns.time is not None:
        notes += odd_times(table, columns.time, times, rows)
    if rating is not None and options.min_rating is None:
        unrated = np.sort(rows[rating.gather(rows).is_null().to_numpy()])
        if len(unrated):
            message = (
                f"{count(len(unrated), 'event')} without a rating kept, since no --min-rating asks for one"
            )
            where = places(table, unrated[:5].tolist())
            notes.append(Finding(kind="missing rating", count=len(unrated), message=message, where=where))
    return notes


def rejected_rows(table: Table, rows: pl.Series, reasons: pl.Series) -> pl.DataFrame:
    """Rows of the table as they stand in the file, behind their line and the reason.

    Args:
        table: the log.
        rows: the rows to show.
        reasons: why each is left out.
    """
    before = [*(column.gather(rows) for column in table.places()), reasons.alias("reason")]
    taken = tuple(column.name for column in before)
    original = keep_names_apart(table.frame.select(pl.all().gather(rows)), taken, besides={})
    return pl.DataFrame(before).hstack(original.get_columns())
