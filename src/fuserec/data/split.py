"""Which events train, which validate and which test: six ways, each a pure function of rows.

What each keeps apart, and what it leaks, is told by `fuserec.data.split_plan`.

Shape legend
    E  events   U  users
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

__all__ = [
    "TEST",
    "TRAIN",
    "VALID",
    "GlobalTime",
    "UserTime",
    "by_column",
    "cold_items",
    "global_time",
    "leave_one_out",
    "random_per_user",
    "user_time",
]

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
class UserTime:
    """(E,) codes, and for how many users a tie in time was broken by the order of the input."""

    codes: _Codes
    tied_users: int


@dataclass(frozen=True, slots=True)
class GlobalTime:
    """(E,) codes, and the instants from which on events validate and test; None where the part is not asked for."""

    codes: _Codes
    valid_from: int | None
    test_from: int | None


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


def leave_one_out(users: _Rows, instants: _Rows | None) -> UserTime:
    """A user's last event tests, the one before validates, the others train.

    Users with fewer than three events train with all of them. Ties in time go by the order of the input.

    Args:
        users: (E,) user rows, in the order of the input.
        instants: (E,) times in any unit; None takes the order of the input.
    """
    held_out = np.where(np.bincount(users) >= 3, 1, 0)
    return _last_of_each_user(users, instants, held_out, held_out)


def user_time(users: _Rows, instants: _Rows, fractions: tuple[float, float, float]) -> UserTime:
    """A user's last events test, those before validate, the others train.

    How many of each is as in `random_per_user`. Ties in time go by the order of the input.

    Args:
        users: (E,) user rows, in the order of the input.
        instants: (E,) times in any unit.
        fractions: of training, validation and test events.
    """
    valid, test = _held_out(np.bincount(users), fractions)
    return _last_of_each_user(users, instants, valid, test)


def global_time(instants: _Rows, fractions: tuple[float, float, float]) -> GlobalTime:
    """Two instants cut all events: from the second on they test, from the first on they validate.

    Of n events, n times the fraction, rounded down but at least one, test and validate, and more where a cut
    falls into events of one instant: those stay together, in the later part, and validation takes its share of
    what is left before.

    Args:
        instants: (E,) times in any unit.
        fractions: of training, validation and test events.

    Raises:
        DataError: too many events share an instant, so a part that is asked for would be empty.
    """
    _, valid_fraction, test_fraction = fractions
    total = np.array([len(instants)])
    test, valid = (int(_share(total, fraction)[0]) for fraction in (test_fraction, valid_fraction))
    codes = np.full(len(instants), TRAIN, dtype=np.int8)
    left = np.sort(instants)
    starts: dict[int, int | None] = {VALID: None, TEST: None}
    for part, size in ((TEST, test), (VALID, valid)):
        if size and len(left):
            start = int(left[-min(size, len(left))])
            codes[(codes == TRAIN) & (instants >= start)] = part
            left, starts[part] = left[: np.searchsorted(left, start)], start
    sizes = np.bincount(codes, minlength=3)
    empty = [PARTS[part] for part, asked in ((TRAIN, 1), (VALID, valid)) if asked and not sizes[part]]
    if empty:
        raise DataError(
            f"expected two instants that cut {len(instants)} events into the fractions {fractions}, but nothing is "
            f"left to {empty[0]}: too many events share one instant, or there are too few; choose other --fractions"
        )
    return GlobalTime(codes, valid_from=starts[VALID], test_from=starts[TEST])


def cold_items(items: _Rows, fractions: tuple[float, float, float], *, seed: int) -> _Codes:
    """(E,) codes drawn for each item: all events of an item are in one part.

    Of the n items that have events, n times the fraction, rounded down but at least one, test and validate.
    The draw depends on which items have events and on nothing else.

    Args:
        items: (E,) item rows.
        fractions: of training, validation and test items.
        seed: the same seed and items give the same codes.

    Raises:
        DataError: no item would be left to train with.
    """
    known, item_of_event = np.unique(items, return_inverse=True)
    _, valid_fraction, test_fraction = fractions
    total = np.array([len(known)])
    test, valid = (int(_share(total, fraction)[0]) for fraction in (test_fraction, valid_fraction))
    if test + valid >= len(known):
        raise DataError(
            f"expected more than {test + valid} items with events, to train with some of them, got {len(known)}"
        )
    order = np.random.default_rng(seed).permutation(len(known))
    codes = np.full(len(known), TRAIN, dtype=np.int8)
    codes[order[: test + valid]] = VALID
    codes[order[:test]] = TEST
    return codes[item_of_event]


def random_per_user(users: _Rows, fractions: tuple[float, float, float], *, seed: int) -> _Codes:
    """(E,) codes drawn at random within each user.

    Of a user's n events, n times the fraction, rounded down but at least one, test and validate; at least
    one trains. Users with fewer than three events train with all of them.

    Args:
        users: (E,) user rows.
        fractions: of training, validation and test events.
        seed: the same seed and rows give the same codes.
    """
    counts = np.bincount(users)
    valid, test = _held_out(counts, fractions)
    order = np.lexsort((np.random.default_rng(seed).random(len(users)), users))
    return _codes_by_place(users, _place(users, order), valid, test)


def _last_of_each_user(
    users: _Rows, instants: _Rows | None, valid: NDArray[np.int64], test: NDArray[np.int64]
) -> UserTime:
    """The last ``test`` (U,) events of a user test, the ``valid`` (U,) before them validate."""
    # Both sorts are stable, so ties keep the order of the input.
    order = np.argsort(users, kind="stable") if instants is None else np.lexsort((instants, users))
    place_from_end = np.bincount(users)[users] - 1 - _place(users, order)
    codes = _codes_by_place(users, place_from_end, valid, test)
    if instants is None:
        return UserTime(codes, 0)
    this, following = order[:-1], order[1:]
    same = (users[this] == users[following]) & (instants[this] == instants[following])
    tied = same & (codes[this] != codes[following])
    return UserTime(codes, len(np.unique(users[this[tied]])))


def _place(users: _Rows, order: _Rows) -> _Rows:
    """(E,) the place of each event among those of its user, from 0, in an ``order`` (E,) that goes by user."""
    counts = np.bincount(users)
    place = np.empty(len(users), dtype=np.int64)
    place[order] = np.arange(len(users)) - np.repeat(counts.cumsum() - counts, counts)
    return place


def _codes_by_place(users: _Rows, place: _Rows, valid: NDArray[np.int64], test: NDArray[np.int64]) -> _Codes:
    """(E,) the first ``test`` (U,) places of a user test, the next ``valid`` (U,) validate, the others train."""
    codes = np.full(len(users), TRAIN, dtype=np.int8)
    codes[place < (test + valid)[users]] = VALID
    codes[place < test[users]] = TEST
    return codes


def _held_out(
    counts: NDArray[np.int64], fractions: tuple[float, float, float]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(U,) validation and (U,) test events of users with ``counts`` (U,) events; at least one trains."""
    _, valid_fraction, test_fraction = fractions
    test = _share(counts, test_fraction)
    valid = np.minimum(_share(counts, valid_fraction), counts - test - 1)
    return np.where(counts >= 3, valid, 0), np.where(counts >= 3, test, 0)


def _share(counts: NDArray[np.int64], fraction: float) -> NDArray[np.int64]:
    """The fraction of each count, rounded down, at least one unless the fraction is 0."""
    if fraction == 0:
        return np.zeros_like(counts)
    # 0.29 * 100 is 28.999... in floating point; the small addition keeps it 29.
    share: NDArray[np.int64] = np.floor(counts * fraction + 1e-9).astype(np.int64)
    return np.maximum(1, share)
