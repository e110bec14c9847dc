from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.data.sources.table import Table
from fuserec.data.split import (
    TEST,
    TRAIN,
    VALID,
    by_column,
    cold_items,
    global_time,
    leave_one_out,
    random_per_user,
    user_time,
)
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


FRACTIONS = (0.6, 0.2, 0.2)

timed_events = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=1, max_size=60).map(
    lambda events: (
        np.unique(np.array([user for user, _ in events]), return_inverse=True)[1].astype(np.int64),
        np.array([time for _, time in events], dtype=np.int64),
    )
)
Rows = np.ndarray[tuple[int], np.dtype[np.int64]]


def test_user_time_holds_out_the_last_events_of_each_user() -> None:
    users = np.array([0, 1, 0, 0, 1, 0, 1, 0, 2, 2])
    times = np.array([5, 9, 1, 4, 8, 3, 7, 2, 1, 2])
    ordered = user_time(users, times, FRACTIONS)
    parts = [TEST, TEST, TRAIN, VALID, VALID, TRAIN, TRAIN, TRAIN, TRAIN, TRAIN]
    assert (ordered.codes.tolist(), ordered.tied_users) == (parts, 0)


def test_user_time_counts_the_users_whose_cut_falls_into_a_tie() -> None:
    users = np.repeat(np.arange(3), 5)
    times = np.array([1, 2, 3, 4, 4, 1, 1, 1, 2, 3, 1, 2, 3, 3, 4])
    ordered = user_time(users, times, FRACTIONS)
    assert ordered.codes.tolist() == [TRAIN, TRAIN, TRAIN, VALID, TEST] * 3
    assert ordered.tied_users == 2


@settings(max_examples=100, deadline=None)
@given(events=timed_events, seed=st.integers(0, 99))
def test_user_time_keeps_its_laws(events: tuple[Rows, Rows], seed: int) -> None:
    users, times = events
    codes = user_time(users, times, FRACTIONS).codes
    sizes = random_per_user(users, FRACTIONS, seed=seed)
    for user in np.unique(users):
        mine = users == user
        assert (
            np.bincount(codes[mine], minlength=3).tolist() == np.bincount(sizes[mine], minlength=3).tolist()
        )
        in_order = codes[mine][np.argsort(times[mine], kind="stable")]
        assert (np.diff(in_order) >= 0).all()


@settings(max_examples=50, deadline=None)
@given(users=user_rows, seed=st.integers(0, 99))
def test_user_time_with_one_event_a_part_is_leave_one_out(users: Rows, seed: int) -> None:
    times = np.random.default_rng(seed).integers(0, 9, len(users))
    few, one = user_time(users, times, (0.98, 0.01, 0.01)), leave_one_out(users, times)
    assert (few.codes.tolist(), few.tied_users) == (one.codes.tolist(), one.tied_users)


@settings(max_examples=50, deadline=None)
@given(users=user_rows, seed=st.integers(0, 99))
def test_without_ties_the_order_of_the_input_changes_no_split_by_time(users: Rows, seed: int) -> None:
    generator = np.random.default_rng(seed)
    times, shuffled = generator.permutation(len(users)), generator.permutation(len(users))
    codes = user_time(users, times, FRACTIONS).codes
    assert user_time(users[shuffled], times[shuffled], FRACTIONS).codes.tolist() == codes[shuffled].tolist()


def test_global_time_cuts_everyone_at_the_same_instants() -> None:
    cut = global_time(np.array([9, 1, 8, 2, 7, 3, 6, 4, 5, 10]), FRACTIONS)
    parts = [TEST, TRAIN, VALID, TRAIN, VALID, TRAIN, TRAIN, TRAIN, TRAIN, TEST]
    assert (cut.codes.tolist(), cut.valid_from, cut.test_from) == (parts, 7, 9)


def test_global_time_takes_a_tie_at_the_cut_into_the_later_part() -> None:
    cut = global_time(np.array([1, 2, 3, 3, 3, 4, 5, 5, 5, 6]), (0.7, 0.1, 0.2))
    assert cut.codes.tolist() == [TRAIN] * 5 + [VALID] + [TEST] * 4
    assert (cut.valid_from, cut.test_from) == (4, 5)


@pytest.mark.parametrize(
    ("times", "fractions", "part"),
    [
        ([1, 1, 1, 1], FRACTIONS, "train"),
        ([1, 1, 2, 2, 2], FRACTIONS, "train"),
        ([1], (0.9, 0.0, 0.1), "train"),
    ],
)
def test_global_time_refuses_a_part_that_would_be_empty(
    times: list[int], fractions: tuple[float, float, float], part: str
) -> None:
    with pytest.raises(DataError, match=f"nothing is left to {part}: too many events share one instant"):
        global_time(np.array(times), fractions)


def test_global_time_leaves_out_a_part_of_which_nothing_is_asked() -> None:
    cut = global_time(np.arange(10), (0.8, 0.0, 0.2))
    assert np.bincount(cut.codes, minlength=3).tolist() == [8, 0, 2]
    assert (cut.valid_from, cut.test_from) == (None, 8)


@settings(max_examples=100, deadline=None)
@given(
    times=st.lists(st.integers(0, 40), min_size=5, max_size=80).map(np.array),
    held_out=st.tuples(st.floats(0, 0.4), st.floats(0, 0.4)),
    seed=st.integers(0, 99),
)
def test_global_time_keeps_its_laws(times: Rows, held_out: tuple[float, float], seed: int) -> None:
    fractions = (1 - sum(held_out), *held_out)
    try:
        codes = global_time(times, fractions).codes
    except DataError:
        assert len(np.unique(times)) < len(times)
        return
    for earlier, later in ((TRAIN, VALID), (VALID, TEST), (TRAIN, TEST)):
        if (codes == earlier).any() and (codes == later).any():
            assert times[codes == earlier].max() < times[codes == later].min()
    for part, fraction in ((TEST, held_out[1]), (VALID, held_out[0])):
        assert (codes == part).any() == (fraction > 0)
    asked = max(1, int(len(times) * held_out[1] + 1e-9)) if held_out[1] else 0
    assert (codes == TEST).sum() >= asked
    shuffled = np.random.default_rng(seed).permutation(len(times))
    assert global_time(times[shuffled], fractions).codes.tolist() == codes[shuffled].tolist()


def test_cold_items_of_ten_items_are_two_and_two() -> None:
    items = np.repeat(np.arange(10) * 7, 3)
    codes = cold_items(items, FRACTIONS, seed=0).reshape(10, 3)
    assert (codes == codes[:, :1]).all()
    assert np.bincount(codes[:, 0]).tolist() == [6, 2, 2]


def test_cold_items_needs_an_item_to_train_with() -> None:
    with pytest.raises(DataError, match="more than 2 items with events, to train with some of them, got 2"):
        cold_items(np.array([3, 3, 5]), FRACTIONS, seed=0)


@settings(max_examples=100, deadline=None)
@given(items=st.lists(st.integers(0, 20), min_size=1, max_size=60).map(np.array), seed=st.integers(0, 2**32))
def test_cold_items_keeps_its_laws(items: Rows, seed: int) -> None:
    known = np.unique(items)
    if len(known) < 3:
        return
    codes = cold_items(items, FRACTIONS, seed=seed)
    assert codes.tolist() == cold_items(items, FRACTIONS, seed=seed).tolist()
    for item in known:
        assert len(set(codes[items == item].tolist())) == 1
    sizes = [len(np.unique(items[codes == part])) for part in (TRAIN, VALID, TEST)]
    held_out = max(1, int(len(known) * 0.2 + 1e-9))
    assert sizes == [len(known) - 2 * held_out, held_out, held_out]
    # Neither the order nor the number of the events matters.
    shuffled = np.random.default_rng(seed).permutation(len(items))
    again = np.concatenate([items[shuffled], items[:1]])
    assert cold_items(again, FRACTIONS, seed=seed).tolist() == [*codes[shuffled].tolist(), codes[0]]


def test_cold_items_of_another_seed_are_others() -> None:
    items = np.arange(200)
    first, second = (cold_items(items, FRACTIONS, seed=seed) for seed in (0, 1))
    assert first.tolist() != second.tolist()
