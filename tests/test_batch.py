from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fuserec.batch import Corpus, Histories, Pairs, Queries

ROWS = st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=6)
PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=25)


def lists(histories: Histories) -> list[list[int]]:
    """The rows as Python lists, read entry by entry."""
    items, offsets = histories.items.tolist(), histories.offsets.tolist()
    return [items[start:stop] for start, stop in pairwise(offsets)]


def as_pairs(drawn: list[tuple[int, int]]) -> Pairs:
    return Pairs(
        users=torch.tensor([user for user, _ in drawn], dtype=torch.int64),
        items=torch.tensor([item for _, item in drawn], dtype=torch.int64),
    )


@given(ROWS)
def test_lists_come_back_as_they_went_in(rows: list[list[int]]) -> None:
    histories = Histories.from_lists(rows)
    assert lists(histories) == rows
    assert len(histories) == len(rows)
    assert histories.lengths.tolist() == [len(row) for row in rows]
    assert histories.offsets.tolist() == [0, *accumulate(map(len, rows))]
    assert (histories.items.dtype, histories.offsets.dtype) == (torch.int64, torch.int64)


@given(ROWS)
def test_rows_names_the_row_of_every_entry(rows: list[list[int]]) -> None:
    expected = [row for row, entries in enumerate(rows) for _ in entries]
    assert Histories.from_lists(rows).rows().tolist() == expected


@given(ROWS)
def test_distinct_keeps_each_item_of_a_row_once(rows: list[list[int]]) -> None:
    found = Histories.from_lists(rows).distinct(num_items=10)
    assert lists(found) == [sorted(set(row)) for row in rows]


@given(PAIRS)
def test_distinct_keeps_each_pair_once(drawn: list[tuple[int, int]]) -> None:
    found = as_pairs(drawn).distinct(num_items=10)
    assert list(zip(found.users.tolist(), found.items.tolist(), strict=True)) == sorted(set(drawn))


@given(st.data())
def test_select_is_indexing_with_repetition_and_any_order(data: st.DataObject) -> None:
    rows = data.draw(ROWS.filter(bool))
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8))
    selected = Histories.from_lists(rows).select(torch.tensor(chosen, dtype=torch.int64))
    assert lists(selected) == [rows[row] for row in chosen]


@given(st.data())
def test_selecting_twice_is_selecting_the_selection(data: st.DataObject) -> None:
    histories = Histories.from_lists(data.draw(ROWS.filter(bool)))
    first = torch.tensor(data.draw(st.lists(st.integers(0, len(histories) - 1), min_size=1, max_size=8)))
    second = torch.tensor(data.draw(st.lists(st.integers(0, len(first) - 1), min_size=1, max_size=8)))
    assert lists(histories.select(first).select(second)) == lists(histories.select(first[second]))


@given(PAIRS)
def test_of_gathers_each_users_items_in_the_order_of_the_pairs(drawn: list[tuple[int, int]]) -> None:
    histories = Histories.of(as_pairs(drawn), num_users=6)
    assert lists(histories) == [[item for user, item in drawn if user == row] for row in range(6)]


@given(PAIRS)
def test_of_and_rows_are_inverse_up_to_the_order_of_users(drawn: list[tuple[int, int]]) -> None:
    histories = Histories.of(as_pairs(drawn), num_users=6)
    again = list(zip(histories.rows().tolist(), histories.items.tolist(), strict=True))
    assert again == sorted(drawn, key=lambda pair: pair[0])


def test_no_history_at_all_is_a_history() -> None:
    nothing = Histories.from_lists([])
    assert (len(nothing), lists(nothing), nothing.rows().tolist()) == (0, [], [])
    three = Histories.of(as_pairs([]), num_users=3)
    assert lists(three) == [[], [], []]
    assert lists(three.select(torch.tensor([2, 0]))) == [[], []]


def test_the_length_of_pairs_and_queries_is_their_number() -> None:
    assert len(as_pairs([(0, 1), (0, 1)])) == 2
    assert len(Queries(users=torch.tensor([-1]), histories=Histories.from_lists([[1, 2]]))) == 1


def test_popularity_counts_repeated_pairs_and_marks_cold_items_with_zero() -> None:
    corpus = Corpus(num_users=2, num_items=4, train=as_pairs([(0, 1), (0, 1), (1, 2)]))
    assert corpus.popularity().tolist() == [0, 2, 1, 0]


def test_the_values_that_cross_floors_cannot_be_changed() -> None:
    corpus = Corpus(num_users=2, num_items=4, train=as_pairs([]))
    with pytest.raises(AttributeError, match="cannot assign to field 'num_users'"):
        corpus.num_users = 3  # type: ignore[misc]
