"""Times as people write them, as whole microseconds UTC.

Numbers count from 1970 in seconds, milliseconds, microseconds or nanoseconds. Text is a number or an ISO
8601 date with or without a time; an offset such as ``+02:00`` is honoured, and a time without one is UTC.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from fuserec.errors import DataError

__all__ = ["LATEST", "PROBLEMS", "Times", "read_times"]

LATEST = 7_258_118_400
"""1 January 2200 in seconds UTC; no event is that late."""

PROBLEMS = ("a missing time", "a time before 1970", "a time after 2199", "a time that cannot be read")
"""Why a row has no instant."""

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_EARLIEST_GUESS = 100_000_000
"""March 1973: a number read in a finer unit must lie after it, or it is taken as seconds."""

_ISO = (
    r"^(?<date>\d{4}-\d{2}-\d{2})"
    r"(?:[T ](?<clock>\d{2}:\d{2}(?::\d{2})?)(?:\.(?<fraction>\d{1,9}))?)?"
    r" ?(?<zone>Z|z|UTC|[+-]\d{2}:?\d{2})?$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """A column of times.

    Attributes:
        instants: (rows,) Int64 microseconds since 1970 UTC; null where there is a problem.
        problems: (rows,) why a row has no instant, one of `PROBLEMS`; null where it has one.
        unit: the unit of the numbers.
        guessed: the unit was guessed from the numbers, and is not seconds.
        exact: the column holds whole seconds as numbers, so nothing is lost by keeping seconds only.
    """

    instants: pl.Series
    problems: pl.Series
    unit: str
    guessed: bool
    exact: bool


def read_times(column: pl.Series, unit: str) -> Times:
    """Read a column of times.

    Args:
        column: integers, floats, dates, date-times or text.
        unit: of the numbers; ``auto`` takes seconds unless the median can only be a finer unit.

    Raises:
        DataError: the column is of another type.
    """
    if column.dtype in (pl.Date, pl.Datetime):
        instants = column.cast(pl.Datetime("us")).cast(pl.Int64)
        return _checked(column, instants, pl.repeat(None, len(column), dtype=pl.Int64, eager=True), "s")
    if column.dtype not in (pl.String, pl.Null) and not column.dtype.is_numeric():
        raise DataError(
            f"expected times as numbers, dates or text in column {column.name!r}, got {column.dtype}"
        )
    integers, floats = _numbers(column)
    values = pl.select(pl.coalesce(integers.cast(pl.Float64), floats)).to_series()
    known, guessed = (unit, False) if unit != "auto" else _guess(values)
    per_second = _PER_SECOND[known]
    # Bounds are checked before the multiplication, so that no number overflows into a plausible one.
    bounded = (values >= 0) & (values < float(LATEST) * per_second)
    exact = _scaled(integers.set(~bounded.fill_null(value=False), None), per_second)
    rounded = (floats.set(~bounded.fill_null(value=False), None) * (1e6 / per_second)).round()
    instants = pl.select(pl.coalesce(exact, rounded.cast(pl.Int64))).to_series()
    if column.dtype == pl.String and instants.null_count() > column.null_count():
        instants = pl.select(pl.coalesce(instants, _iso(column))).to_series()
    whole_seconds = known == "s" and integers.null_count() == column.null_count()
    sign = values.fill_nan(None)
    late_or_early = pl.select(
        pl.when(sign < 0).then(pl.lit(-1)).when(sign >= float(LATEST) * per_second).then(pl.lit(1))
    ).to_series()
    return _checked(column, instants, late_or_early, known, guessed=guessed, exact=whole_seconds)


def _checked(
    column: pl.Series,
    instants: pl.Series,
    side: pl.Series,
    unit: str,
    *,
    guessed: bool = False,
    exact: bool = False,
) -> Times:
    """Say what is wrong with every row without a usable instant; ``side`` is -1 too early, 1 too late."""
    missing = column.is_null()
    if column.dtype == pl.String:
        missing = missing | (column.str.strip_chars() == "")
    if column.dtype.is_float():
        missing = missing | column.is_nan()
    frame = pl.DataFrame({"instant": instants, "side": side, "missing": missing.fill_null(value=True)})
    early = (pl.col("side") == -1) | (pl.col("instant") < 0)
    late = (pl.col("side") == 1) | (pl.col("instant") >= LATEST * 1_000_000)
    problems = frame.select(
        pl.when("missing")
        .then(pl.lit(PROBLEMS[0]))
        .when(early)
        .then(pl.lit(PROBLEMS[1]))
        .when(late)
        .then(pl.lit(PROBLEMS[2]))
        .when(pl.col("instant").is_null())
        .then(pl.lit(PROBLEMS[3]))
    ).to_series()
    return Times(
        instants=instants.set(problems.is_not_null(), None),
        problems=problems,
        unit=unit,
        guessed=guessed,
        exact=exact,
    )


def _numbers(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The column as Int64 and as Float64, each null where it is not that."""
    if column.dtype.is_float():
        return pl.repeat(None, len(column), dtype=pl.Int64, eager=True), column.cast(pl.Float64).fill_nan(
            None
        )
    integers = column.cast(pl.Int64, strict=False)
    if column.dtype != pl.String:
        return integers, column.cast(pl.Float64)
    return integers, column.cast(pl.Float64, strict=False).fill_nan(None)


def _guess(values: pl.Series) -> tuple[str, bool]:
    """The unit in which the median lies between 1973 and 2200; seconds where none does."""
    median = values.filter(values > 0).median()
    if not isinstance(median, float) or median < LATEST:
        return "s", False
    for unit in ("ms", "us", "ns"):
        if _EARLIEST_GUESS <= median / _PER_SECOND[unit] < LATEST:
            return unit, True
    return "s", False


def _scaled(integers: pl.Series, per_second: int) -> pl.Series:
    """Exact integer microseconds."""
    if per_second <= 1_000_000:
        return integers * (1_000_000 // per_second)
    return integers // (per_second // 1_000_000)


def _iso(column: pl.Series) -> pl.Series:
    """Microseconds UTC of ISO 8601 text, null where it is none."""
    parts = (
        pl.DataFrame({"text": column.str.strip_chars()})
        .select(pl.col("text").str.extract_groups(_ISO).alias("parts"))
        .unnest("parts")
    )
    clock = pl.col("clock").fill_null("00:00:00")
    seconds = pl.when(clock.str.len_bytes() == 5).then(clock + ":00").otherwise(clock)
    moment = (pl.col("date") + " " + seconds).str.to_datetime(
        "%Y-%m-%d %H:%M:%S", strict=False, time_unit="us"
    )
    fraction = pl.col("fraction").fill_null("0").str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64)
    digits = pl.col("zone").str.replace(":", "", literal=True).str.to_uppercase()
    sign = pl.when(digits.str.starts_with("-")).then(-1).otherwise(1)
    minutes = digits.str.slice(1, 2).cast(pl.Int64, strict=False) * 60 + digits.str.slice(3, 2).cast(
        pl.Int64, strict=False
    )
    offset = (sign * minutes).fill_null(0) * 60_000_000
    return parts.select(moment.cast(pl.Int64) + fraction - offset).to_series()
