from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.data.ids import as_ids, from_array, rows_of, same_type, series_of
from fuserec.data.sources.table import Table
from fuserec.errors import DataError


def table(values: Sequence[object], *, is_text: bool, dtype: pl.DataType | None = None) -> Table:
    frame = pl.DataFrame({"id": pl.Series(values, dtype=dtype)})
    return Table(path=Path("f.csv"), frame=frame, numbers=np.arange(frame.height), is_text=is_text)


def test_text_that_is_written_as_integers_becomes_integers() -> None:
    ids = as_ids(table(["1", "-20", "0", None], is_text=True), "id")
    assert ids.dtype == pl.Int64
    assert ids.to_list() == [1, -20, 0, None]


@pytest.mark.parametrize(
    "odd", ["007", "+1", "1.0", "1e3", " 1", "-0", "9223372036854775808", "12345678901234567890123", "x"]
)
def test_one_id_that_would_not_come_back_keeps_the_whole_column_text(odd: str) -> None:
    ids = as_ids(table(["1", odd], is_text=True), "id")
    assert ids.dtype == pl.String
    assert ids.to_list() == ["1", odd]


def test_text_of_a_typed_file_stays_text() -> None:
    assert as_ids(table(["1", "2"], is_text=False), "id").to_list() == ["1", "2"]


@pytest.mark.parametrize("kind", [pl.Int8(), pl.UInt32(), pl.Int64()])
def test_integers_of_any_width_become_int64(kind: pl.DataType) -> None:
    ids = as_ids(table([1, 2], is_text=False, dtype=kind), "id")
    assert ids.dtype == pl.Int64
    assert ids.to_list() == [1, 2]


def test_categories_are_text() -> None:
    assert as_ids(table(["b", "a"], is_text=False, dtype=pl.Categorical()), "id").to_list() == ["b", "a"]


def test_blank_ids_are_missing() -> None:
    assert as_ids(table(["a", "", "  "], is_text=True), "id").to_list() == ["a", None, None]


def test_integers_too_great_for_64_bits_are_refused() -> None:
    with pytest.raises(DataError, match=r"expected ids below 2\*\*63 in column 'id' of f.csv"):
        as_ids(table([2**63], is_text=False, dtype=pl.UInt64()), "id")


def test_floating_point_ids_are_refused() -> None:
    with pytest.raises(DataError, match=r"expected text or integers in column 'id' of f.csv, got Float64"):
        as_ids(table([1.0, None], is_text=False), "id")


@pytest.mark.parametrize(
    ("events", "items", "expected"),
    [
        ([1, 2], [1, 2], ([1, 2], [1, 2])),
        (["1", "2"], [1, 2], ([1, 2], [1, 2])),
        (["1", "x"], [1, 2], (["1", "x"], ["1", "2"])),
        ([1, 2], ["1", "02"], (["1", "2"], ["1", "02"])),
    ],
)
def test_two_columns_of_ids_meet_in_one_type(
    events: list[object], items: list[object], expected: tuple[list[object], list[object]]
) -> None:
    both = same_type(pl.Series(events), pl.Series(items))
    assert (both[0].to_list(), both[1].to_list()) == expected


def test_rows_are_found_across_types_and_unknown_ids_have_none() -> None:
    assert rows_of(pl.Series(["7", "5", "07"]), pl.Series([5, 7])).to_list() == [1, 0, None]
    assert rows_of(pl.Series([7, 6]), pl.Series(["5", "7"])).to_list() == [1, None]


@pytest.mark.parametrize("array", [np.array([[1]]), np.array([1.5]), np.array([b"a"]), np.array([True])])
def test_arrays_that_are_no_ids_are_refused(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> None:
    with pytest.raises(DataError, match="expected 'ids' to be a list of integers or text, got"):
        from_array(array, "'ids'")


def test_arrays_of_integers_and_text_are_ids() -> None:
    assert from_array(np.array([3, 1], dtype=np.uint8), "ids").to_list() == [3, 1]
    assert from_array(np.array(["b", "007"]), "ids").to_list() == ["b", "007"]
    with pytest.raises(DataError, match=r"expected integers below 2\*\*63 in ids"):
        from_array(np.array([2**64 - 1], dtype=np.uint64), "ids")


def test_mixed_and_floating_ids_in_python_are_refused() -> None:
    with pytest.raises(DataError, match="expected ids that are all text or all integers"):
        series_of(["a", 1])
    with pytest.raises(DataError, match="expected ids that are text or integers, got Float64"):
        series_of(pl.Series([1.5]))


def test_a_text_is_no_list_of_ids() -> None:
    with pytest.raises(DataError, match=r"expected a list of ids, got the text '007'; write \['007'\]"):
        series_of("007")


visible = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=5)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.integers().map(str), visible), min_size=1))
def test_text_ids_come_back_to_the_letter(values: list[str]) -> None:
    assert as_ids(table(values, is_text=True), "id").cast(pl.String).to_list() == values
