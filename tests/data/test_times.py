from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.data.times import read_times
from fuserec.errors import DataError

MILLION = 1_000_000


def test_whole_seconds_stay_exact() -> None:
    for column in (pl.Series([0, 1_600_000_000]), pl.Series(["0", "1600000000"])):
        times = read_times(column, "auto")
        assert times.instants.to_list() == [0, 1_600_000_000 * MILLION]
        assert times.exact
        assert not times.guessed


def test_what_is_wrong_with_a_time_is_said() -> None:
    column = pl.Series(
        ["5", None, " ", "-1", "7258118400", "soon", "1969-12-31", "2200-01-01", "2020-02-30", "inf"]
    )
    assert read_times(column, "auto").problems.to_list() == [
        None,
        "a missing time",
        "a missing time",
        "a time before 1970",
        "a time after 2199",
        "a time that cannot be read",
        "a time before 1970",
        "a time after 2199",
        "a time that cannot be read",
        "a time after 2199",
    ]


def test_nan_is_a_missing_time() -> None:
    times = read_times(pl.Series([1.5, float("nan"), None]), "auto")
    assert times.instants.to_list() == [1_500_000, None, None]
    assert times.problems.to_list() == [None, "a missing time", "a missing time"]


@pytest.mark.parametrize(("unit", "factor"), [("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_a_finer_unit_is_recognised_and_said_to_be_a_guess(unit: str, factor: int) -> None:
    seconds = [1_200_000_000, 1_600_000_000, 1_700_000_000]
    times = read_times(pl.Series([second * factor for second in seconds]), "auto")
    assert (times.unit, times.guessed, times.exact) == (unit, True, False)
    assert times.instants.to_list() == [second * MILLION for second in seconds]


def test_a_unit_that_is_told_is_no_guess() -> None:
    times = read_times(pl.Series([1_600_000_000_123]), "ms")
    assert not times.guessed
    assert times.instants.to_list() == [1_600_000_000_123_000]
    assert read_times(pl.Series([1_600_000_000_123]), "s").problems.to_list() == ["a time after 2199"]


def test_small_numbers_are_seconds_however_early() -> None:
    assert read_times(pl.Series([0, 1, 2]), "auto").unit == "s"


def test_numbers_that_are_late_in_every_unit_are_refused_not_rescaled() -> None:
    times = read_times(pl.Series([20_000_000_000]), "auto")
    assert (times.unit, times.problems.to_list()) == ("s", ["a time after 2199"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-02", 86_400.0),
        ("1970-01-01 00:01", 60.0),
        ("1970-01-01T00:00:05", 5.0),
        ("1970-01-01T00:00:05Z", 5.0),
        ("1970-01-01 00:00:05 UTC", 5.0),
        ("1970-01-01T00:00:05.25", 5.25),
        ("1970-01-01T00:00:05.123456789Z", 5.123456),
        ("1970-01-01T02:00:00+02:00", 0.0),
        ("1970-01-01T00:00:00-0130", 5_400.0),
    ],
)
def test_dates_are_read_by_iso_8601_and_are_utc_unless_they_say_otherwise(text: str, expected: float) -> None:
    assert read_times(pl.Series([text]), "auto").instants.to_list() == [round(expected * MILLION)]


def test_typed_dates_are_read() -> None:
    assert read_times(pl.Series([date(1970, 1, 2)]), "auto").instants.to_list() == [86_400 * MILLION]
    east = timezone(timedelta(hours=2))
    column = pl.Series([datetime(1970, 1, 1, 2, 0, 1, tzinfo=east)])
    assert read_times(column, "auto").instants.to_list() == [MILLION]
    assert read_times(pl.Series([datetime(1970, 1, 1, 0, 0, 2)]), "auto").instants.to_list() == [2 * MILLION]


def test_other_types_are_refused() -> None:
    with pytest.raises(
        DataError, match="expected times as numbers, dates or text in column 't', got Boolean"
    ):
        read_times(pl.Series("t", [True]), "auto")


@settings(max_examples=100, deadline=None)
@given(
    st.datetimes(
        min_value=datetime(1971, 1, 1),
        max_value=datetime(2199, 12, 30),
        timezones=st.just(UTC),
    ),
    st.integers(-14 * 60, 14 * 60),
)
def test_any_moment_in_any_zone_is_read_as_python_reads_it(moment: datetime, minutes: int) -> None:
    local = moment.astimezone(timezone(timedelta(minutes=minutes)))
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert read_times(pl.Series([local.isoformat()]), "auto").instants.to_list() == [expected]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_no_number_overflows_into_a_plausible_time(values: list[int]) -> None:
    for value, instant in zip(values, read_times(pl.Series(values), "s").instants, strict=True):
        assert instant == (value * MILLION if 0 <= value < 7_258_118_400 else None)
