"""Events: every row of the log is kept, or rejected for one reason that is counted and told."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from fuserec.data.columns import EventColumns
from fuserec.data.items import keep_names_apart
from fuserec.data.report import count, places, rejection
from fuserec.data.schema import BuildOptions, Finding
from fuserec.data.sources.table import Table
from fuserec.data.times import Times, read_times
from fuserec.errors import DataError

__all__ = ["Events", "clean_events"]

_OWN = ("user", "item", "time", "rating", "line")
_ROW, _INSTANT, _REASON = "\0row", "\0instant", "\0reason"
_DUPLICATE = "a duplicate of an earlier event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """What is left of a log, and what is not.

    Attributes:
        kept: original ids ``user`` and ``item``, ``time`` (seconds) and ``rating`` where there are any,
            ``line`` in the file, and all other columns; by time, and by the order of the input within it.
        rows: (kept,) Int64 row of the table of each kept event.
        instants: (kept,) Int64 microseconds UTC; None without times.
        rejected: ``line``, ``reason``, and the rejected rows as they stand in the file.
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
        options: the smallest rating, repeats, the unit of times.

    Raises:
        DataError: no event is left.
    """
    if not table.frame.height:
        raise DataError(f"expected at least one event in {table.path}, found none below the header")
    times = None if columns.time is None else read_times(table.frame[columns.time], options.time_unit)
    frame = _standard(table, columns, users, items, times)
    frame = frame.with_columns(_reasons(frame, table, columns, times, known_items, options).alias(_REASON))
    if times is not None:
        frame = frame.sort(_INSTANT, _ROW, nulls_last=True)
    usable = pl.col(_REASON).is_null()
    again = usable & ~pl.struct("user", "item", usable).is_first_distinct()
    repeated = frame.select(_ROW, again.alias("again")).filter("again")[_ROW].sort()
    if options.repeats == "drop":
        frame = frame.with_columns(pl.when(again).then(pl.lit(_DUPLICATE)).otherwise(_REASON).alias(_REASON))
    findings = [*_rejections(table, frame), *_notes(table, columns, frame, times, options)]
    if options.repeats == "keep" and len(repeated):
        message = (
            f"{count(len(repeated), 'event')} of an item that the user has had; kept, as --repeats keep asks"
        )
        findings.append(
            Finding(
                kind="repeat", count=len(repeated), message=message, where=places(table, repeated.head(5))
            )
        )
    kept = frame.filter(pl.col(_REASON).is_null())
    if not kept.height:
        told = "; ".join(finding.line() for finding in findings if finding.rejected)
        raise DataError(f"no event of {table.path} is left: {told}")
    return Events(
        kept=kept.drop(_ROW, _INSTANT, _REASON, strict=False),
        rows=kept[_ROW],
        instants=None if times is None else kept[_INSTANT],
        rejected=_rejected(table, frame),
        findings=tuple(findings),
    )


def _standard(
    table: Table, columns: EventColumns, users: pl.Series, items: pl.Series, times: Times | None
) -> pl.DataFrame:
    """The log with its roles under their own names and all other columns."""
    named = {columns.user, columns.item, columns.rating, *columns.splits}
    if times is not None and times.exact:
        named.add(columns.time)
    others = table.frame.select(name for name in table.frame.columns if name not in named)
    frame = pl.DataFrame([users.alias("user"), items.alias("item")])
    if times is not None:
        frame = frame.with_columns(
            (times.instants // 1_000_000).alias("time"), times.instants.alias(_INSTANT)
        )
    if columns.rating is not None:
        frame = frame.with_columns(_rating(table.frame[columns.rating]).alias("rating"))
    frame = frame.with_columns(pl.Series("line", table.numbers)).with_row_index(_ROW)
    frame = frame.with_columns(pl.col(_ROW).cast(pl.Int64))
    return frame.hstack(keep_names_apart(others, _OWN, besides={}).get_columns())


def _rating(column: pl.Series) -> pl.Series:
    if column.dtype not in (pl.String, pl.Null) and not column.dtype.is_numeric():
        raise DataError(f"expected ratings as numbers in column {column.name!r}, got {column.dtype}")
    return column.cast(pl.Float64, strict=False).fill_nan(None)


def _reasons(
    frame: pl.DataFrame,
    table: Table,
    columns: EventColumns,
    times: Times | None,
    known_items: pl.Series | None,
    options: BuildOptions,
) -> pl.Series:
    """Why a row cannot be used, the first reason that holds; null where it can."""
    reasons = [
        pl.when(pl.col("user").is_null()).then(pl.lit("a missing user")),
        pl.when(pl.col("item").is_null()).then(pl.lit("a missing item")),
    ]
    if times is not None:
        frame = frame.with_columns(times.problems.alias("\0problem"))
        reasons.append(pl.when(pl.col("\0problem").is_not_null()).then("\0problem"))
    if columns.rating is not None:
        raw = table.frame[columns.rating]
        given = raw.is_not_nan() & raw.is_not_null() if raw.dtype.is_float() else raw.is_not_null()
        frame = frame.with_columns(given.alias("\0given"))
        unusable = pl.col("\0given") & ~pl.col("rating").is_finite().fill_null(value=False)
        reasons.append(pl.when(unusable).then(pl.lit("a rating that is not a number")))
        if options.min_rating is not None:
            reasons.append(pl.when(~pl.col("\0given")).then(pl.lit("a missing rating")))
            low = pl.col("rating") < options.min_rating
            reasons.append(pl.when(low).then(pl.lit(f"a rating under {options.min_rating:g}")))
    elif options.min_rating is not None:
        raise DataError(
            f"--min-rating needs a rating column, but {table.path} has none; say which with --columns rating=..."
        )
    if known_items is not None:
        unknown = ~pl.col("item").is_in(known_items.implode())
        reasons.append(pl.when(unknown).then(pl.lit("the item is not in the items file")))
    return frame.select(pl.coalesce(reasons)).to_series()


def _rejections(table: Table, frame: pl.DataFrame) -> list[Finding]:
    """One finding a reason, in the order of the first row it concerns."""
    rejected = frame.filter(pl.col(_REASON).is_not_null()).sort(_ROW)
    groups = rejected.group_by(_REASON, maintain_order=True).agg(
        pl.len().alias("count"), pl.col(_ROW).head(8).alias("rows")
    )
    return [rejection(table, reason, number, rows) for reason, number, rows in groups.iter_rows()]


def _notes(
    table: Table, columns: EventColumns, frame: pl.DataFrame, times: Times | None, options: BuildOptions
) -> list[Finding]:
    """What was noticed besides."""
    notes = []
    if table.blank_lines:
        message = f"{count(table.blank_lines, 'blank line')} in {table.path.name} passed over"
        notes.append(Finding(kind="blank line", count=table.blank_lines, message=message))
    if times is not None and times.guessed:
        message = (
            f"the times in column {columns.time!r} are taken as {times.unit}, since in seconds they would lie "
            f"after 2199; pass --time-unit {times.unit} to say so"
        )
        notes.append(Finding(kind="time unit", count=frame.height, message=message, refused_by_strict=True))
    if columns.rating is not None and options.min_rating is None:
        unrated = frame.filter(pl.col(_REASON).is_null() & pl.col("rating").is_null())[_ROW].sort()
        if len(unrated):
            message = (
                f"{count(len(unrated), 'event')} without a rating kept, since no --min-rating asks for one"
            )
            notes.append(
                Finding(
                    kind="missing rating",
                    count=len(unrated),
                    message=message,
                    where=places(table, unrated.head(5)),
                )
            )
    return notes


def _rejected(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """The rejected rows as they stand in the file, behind their line and the reason."""
    reasons = frame.filter(pl.col(_REASON).is_not_null()).sort(_ROW)
    original = keep_names_apart(table.frame[reasons[_ROW]], ("line", "reason"), besides={})
    return reasons.select("line", pl.col(_REASON).alias("reason")).hstack(original.get_columns())
