"""Times that can be read, and yet hardly mean what was read: told, since only the reader of the log can know."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fuserec.data.report import count, places
from fuserec.data.schema import Finding
from fuserec.data.sources.table import Table
from fuserec.data.times import Times

__all__ = ["FAR_APART", "odd_times"]

FAR_APART = "times far apart"
"""Kind of the finding that some numbers lie before logs were kept and others do not."""

_1990, _2000 = 631_152_000_000_000, 946_684_800_000_000
"""Microseconds since 1970."""

_LOOK_LIKE = {
    "days since 1900, as spreadsheets count": (32_874, 54_790),
    "dates written as YYYYMMDD": (19_900_101, 20_500_101),
}
"""What 1990 to 2050 is in numbers that are no unit of ours; all of it would be taken as seconds of 1970."""


def odd_times(table: Table, column: str, times: Times, rows: NDArray[np.int64]) -> list[Finding]:
    """What is odd in the times that are numbers; dates that are written out mean what they say.

    Args:
        table: the log.
        column: of its times.
        times: as they were read.
        rows: of the events that are kept.
    """
    written = table.frame[column].gather(rows)
    if written.dtype.is_temporal():
        return []
    numbers = written.cast(pl.Float64, strict=False)
    instants = times.instants.gather(rows)
    early = (numbers.is_not_null() & (instants < _1990)).to_numpy()
    late = int((instants >= _2000).sum())
    first = np.sort(rows[early])
    where = places(table, first[:5].tolist())
    if len(first) and late:
        message = (
            f"{count(len(first), 'event')} before 1990 beside {count(late, 'event')} after 1999; "
            "the numbers may be of several units, such as seconds and milliseconds"
        )
        return [Finding(kind=FAR_APART, count=len(first), message=message, where=where)]
    for what, (least, end) in _LOOK_LIKE.items():
        if (
            len(rows)
            and times.unit == "s"
            and numbers.is_between(least, end, closed="left").fill_null(value=False).all()
        ):
            message = (
                f"the times are taken as seconds, hence all lie in 1970, but look like {what}; "
                "if so, write them as 2024-03-15"
            )
            return [Finding(kind="odd times", count=len(rows), message=message, where=where)]
    return []
