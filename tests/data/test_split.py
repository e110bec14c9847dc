from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.data.sources.table import Table
from fuserec.data.split import TEST, TRAIN, VALID, by_column, leave_one_out, random_per_user
from fuserec.errors import DataError

# Rows are numbered without a gap, as those of a dataset are.
user_rows = st.lists(st.integers(0, 5), min_size=1, max_size=60).map(
    lambda users: np.unique(np.array(users), return_inverse=True)[1].astype(np.int64)
)


def test_the_last_event_tests_and_the_one_before_validates() -> None:
    users = np.array([0, 1, 0, 0, 0, 1, 1])
    times = np.array([9, 5, 7, 8, 6, 3, 4])
    assert leave_one_out(users, times).codes.tolist() == [TEST, TEST, TRAIN, VALID, TRAIN, TRAIN, VALID]


def test_without_times_the_order_of_the_input_decides() -> None:
    users = np.array([0, 0, 1, 0, 1, 1])
    held_out = leave_one_out(users, None)
    assert held_out.codes.tolist() == [TRAIN, VALID, TRAIN, TEST, VALID, TEST]
    assert held_out.tied_users == 0


def test_users_with_fewer_than_three_events_only_train() -> None:
    users = np.array([0, 0, 1, 2, 2, 2])
    assert leave_one_out(users, np.arange(6)).codes.tolist() == [TRAIN] * 4 + [VALID, TEST]


def test_ties_go_by_the_order_of_the_input_and_are_counted_where_they_matter() -> None:
    users = np.repeat(np.arange(4), 4)
    times = np.array([1, 2, 3, 3, 1, 2, 2, 3, 1, 1, 2, 3, 4, 3, 2, 1])
    held_out = leave_one_out(users, times)
    assert held_out.codes[:4].tolist() == [TRAIN, TRAIN, VALID, TEST]
    assert held_out.codes[4:8].tolist() == [TRAIN, TRAIN, VALID, TEST]
    assert held_out.tied_users == 2


@settings(max_examples=100, deadline=None)
@given(users=user_rows, data=st.data())
def test_leave_one_out_keeps_its_laws(
    users: np.ndarray[tuple[int], np.dtype[np.int64]], data: st.DataObject
) -> None:
    times = np.array(data.draw(st.lists(st.integers(0, 9), min_size=len(users), max_size=len(users))))
    codes = leave_one_out(users, times).codes
    for user in np.unique(users):
        mine = np.flatnonzero(users == user)
        test, valid, train = (mine[codes[mine] == part] for part in (TEST, VALID, TRAIN))
        assert len(test) == len(valid) == (1 if len(mine) >= 3 else 0)
        if len(test):
            key = [(times[row], row) for row in mine]
            assert (times[test[0]], test[0]) == max(key)
            assert (times[valid[0]], valid[0]) == sorted(key)[-2]
        assert len(train) >= 1


@settings(max_examples=100, deadline=None)
@given(
    users=user_rows,
    held_out=st.tuples(st.floats(0, 0.49), st.floats(0, 0.49)),
    seed=st.integers(0, 2**32),
)
def test_the_random_split_keeps_its_laws(
    users: np.ndarray[tuple[int], np.dtype[np.int64]], held_out: tuple[float, float], seed: int
) -> None:
    fractions = (1 - sum(held_out), *held_out)
    codes = random_per_user(users, fractions, seed=seed)
    assert codes.tolist() == random_per_user(users, fractions, seed=seed).tolist()
    for user in np.unique(users):
        count = int((users == user).sum())
        train, valid, test = (int((codes[users == user] == part).sum()) for part in (TRAIN, VALID, TEST))
        assert train >= 1
        if count < 3:
            assert valid == test == 0
            continue
        assert test == (max(1, int(count * held_out[1] + 1e-9)) if held_out[1] else 0)
        wanted = max(1, int(count * held_out[0] + 1e-9)) if held_out[0] else 0
        assert valid == min(wanted, count - test - 1)


def test_the_random_split_of_twenty_events_is_sixteen_two_two() -> None:
    codes = random_per_user(np.zeros(20, dtype=np.int64), (0.8, 0.1, 0.1), seed=0)
    assert np.bincount(codes).tolist() == [16, 2, 2]


def test_another_seed_draws_another_split() -> None:
    users = np.zeros(200, dtype=np.int64)
    first, second = (random_per_user(users, (0.8, 0.1, 0.1), seed=seed) for seed in (0, 1))
    assert first.tolist() != second.tolist()


def table_of(values: list[str | None]) -> tuple[pl.Series, Table]:
    series = pl.Series("part", values)
    numbers = np.arange(2, len(values) + 2)
    return series, Table(path=Path("e.csv"), frame=series.to_frame(), numbers=numbers, is_text=True)


def test_a_column_says_which_part_an_event_is_in() -> None:
    series, table = table_of(["train", "valid", "val", "validation", "dev", "test"])
    assert by_column(series, table, np.arange(6)).tolist() == [TRAIN, VALID, VALID, VALID, VALID, TEST]


@pytest.mark.parametrize(("wrong", "shown"), [("Test", "'Test'"), (None, "nothing"), ("none", "'none'")])
def test_any_other_value_in_a_split_column_is_refused(wrong: str | None, shown: str) -> None:
    series, table = table_of(["train", wrong, wrong])
    with pytest.raises(
        DataError,
        match=rf"split column 'part', got {shown} in e.csv \(e.csv:3, e.csv:4; 2 such events\)",
    ):
        by_column(series, table, np.arange(3))


def test_a_split_column_of_numbers_is_refused() -> None:
    _, table = table_of(["train"])
    with pytest.raises(DataError, match=r"split column 'part' of e.csv, got Int64"):
        by_column(pl.Series("part", [1]), table, np.arange(1))
