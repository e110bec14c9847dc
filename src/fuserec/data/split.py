"""Which events train, which validate and which test: three ways, each a pure function of rows.

Shape legend
    E  events
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fuserec.data.report import places
from fuserec.data.schema import PARTS
from fuserec.data.sources.table import Table
from fuserec.errors import DataError

__all__ = ["TEST", "TRAIN", "VALID", "LeaveOneOut", "by_column", "leave_one_out", "random_per_user"]

TRAIN, VALID, TEST = range(3)

_NAMES = {
    "train": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
}

_Rows = NDArray[np.int64]
_Codes = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """(E,) codes, and for how many users a tie in time was broken by the order of the input."""

    codes: _Codes
    tied_users: int


def by_column(values: pl.Series, table: Table, rows: _Rows) -> _Codes:
    """(E,) codes from a column that says train, valid (or val, validation, dev) or test.

    Args:
        values: (E,) text.
        table: where the values come from.
        rows: (E,) the row of the table of each value.

    Raises:
        DataError: another value stands there.
    """
    text = values.cast(pl.String) if values.dtype in (pl.Categorical, pl.Enum, pl.Null) else values
    if text.dtype != pl.String:
        raise DataError(
            f"expected train, valid or test in the split column {values.name!r} of {table.path}, got {text.dtype}"
        )
    parts = text.replace_strict(_NAMES, default=None, return_dtype=pl.String)
    wrong = np.flatnonzero(parts.is_null().to_numpy())
    wrong = wrong[np.argsort(rows[wrong])]
    if len(wrong):
        found = "nothing" if text[int(wrong[0])] is None else repr(text[int(wrong[0])])
        raise DataError(
            f"expected train, valid or test in the split column {values.name!r}, got {found} in {table.path} "
            f"({', '.join(places(table, rows[wrong[:5]].tolist()))}; {len(wrong)} such events)"
        )
    return parts.replace_strict(list(PARTS), [TRAIN, VALID, TEST], return_dtype=pl.Int8).to_numpy()


def leave_one_out(users: _Rows, instants: _Rows | None) -> LeaveOneOut:
    """A user's last event tests, the one before validates, the others train.

    Users with fewer than three events train with all of them. Ties in time go by the order of the input.

    Args:
        users: (E,) user rows, in the order of the input.
        instants: (E,) times in any unit; None takes the order of the input.
    """
    codes = np.full(len(users), TRAIN, dtype=np.int8)
    # Both sorts are stable, so ties keep the order of the input.
    order = np.argsort(users, kind="stable") if instants is None else np.lexsort((instants, users))
    counts = np.bincount(users)
    ends = counts.cumsum()[counts >= 3]
    last, before, third = order[ends - 1], order[ends - 2], order[ends - 3]
    codes[last], codes[before] = TEST, VALID
    tied = 0
    if instants is not None:
        tied = int(((instants[last] == instants[before]) | (instants[before] == instants[third])).sum())
    return LeaveOneOut(codes, tied)


def random_per_user(users: _Rows, fractions: tuple[float, float, float], *, seed: int) -> _Codes:
    """(E,) codes drawn at random within each user.

    Of a user's n events, n times the fraction, rounded down but at least one, test and validate; at least
    one trains. Users with fewer than three events train with all of them.

    Args:
        users: (E,) user rows.
        fractions: of training, validation and test events.
        seed: the same seed and rows give the same codes.
    """
    _, valid_fraction, test_fraction = fractions
    counts = np.bincount(users)
    test = _share(counts, test_fraction)
    valid = np.minimum(_share(counts, valid_fraction), counts - test - 1)
    test, valid = np.where(counts >= 3, test, 0), np.where(counts >= 3, valid, 0)
    order = np.lexsort((np.random.default_rng(seed).random(len(users)), users))
    rank = np.empty(len(users), dtype=np.int64)
    starts = counts.cumsum() - counts
    rank[order] = np.arange(len(users)) - np.repeat(starts, counts)
    codes = np.full(len(users), TRAIN, dtype=np.int8)
    codes[rank < (test + valid)[users]] = VALID
    codes[rank < test[users]] = TEST
    return codes


def _share(counts: NDArray[np.int64], fraction: float) -> NDArray[np.int64]:
    """The fraction of each count, rounded down, at least one unless the fraction is 0."""
    if fraction == 0:
        return np.zeros_like(counts)
    # 0.29 * 100 is 28.999... in floating point; the small addition keeps it 29.
    share: NDArray[np.int64] = np.floor(counts * fraction + 1e-9).astype(np.int64)
    return np.maximum(1, share)
