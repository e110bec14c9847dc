from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from fuserec.data.columns import item_columns
from fuserec.data.items import Catalogue, read_catalogue
from fuserec.data.schema import BuildOptions
from fuserec.data.sources.formats import read_table
from fuserec.errors import DataError

Write = Callable[[str, str | bytes], Path]


def read(path: Path) -> Catalogue:
    table = read_table(path)
    return read_catalogue(table, item_columns(path, table.frame.columns, BuildOptions()))


def test_items_stand_in_the_order_of_their_file_with_all_their_columns(write: Write) -> None:
    catalogue = read(write("items.csv", "name,asin,genres,year\nBall,z,toy,1999\nCup,a,home,\n"))
    assert catalogue.ids.to_list() == ["z", "a"]
    assert catalogue.content.to_dicts() == [
        {"title": "Ball", "category": "toy", "year": "1999"},
        {"title": "Cup", "category": "home", "year": None},
    ]


def test_columns_that_would_clash_with_our_own_names_are_kept_aside(write: Write) -> None:
    catalogue = read(write("items.csv", "item,row,item_id_original,genre,category\n1,r,o,g,c\n"))
    assert catalogue.content.columns == ["row_original", "item_id_original", "genre", "category"]


def test_duplicated_ids_are_refused_with_their_lines(write: Write) -> None:
    with pytest.raises(
        DataError,
        match=r"every item of .*items.csv once, but 2 ids are there more than once: 'b' \(items.csv:3, items.csv:5\)",
    ):
        read(write("items.csv", "item,title\na,x\nb,x\nc,x\nb,x\nc,x\n"))


def test_missing_ids_are_refused_with_their_lines(write: Write) -> None:
    with pytest.raises(DataError, match=r"an id for every item of .*, but 1 rows have none \(items.csv:3\)"):
        read(write("items.csv", "item,title\na,x\n,x\n"))


def test_no_items_are_refused(write: Write) -> None:
    with pytest.raises(DataError, match=r"expected at least one item in .*, found none below the header"):
        read(write("items.csv", "item,title\n"))


def test_a_typed_catalogue_keeps_its_types(tmp_path: Path) -> None:
    frame = pl.DataFrame({"item_id": [3, 1], "tags": [["a"], []], "year": [1999, None]})
    frame.write_parquet(tmp_path / "items.parquet")
    assert read(tmp_path / "items.parquet").content.to_dicts() == [
        {"tags": ["a"], "year": 1999},
        {"tags": [], "year": None},
    ]


def test_available_is_read_however_a_shop_writes_it(write: Write) -> None:
    catalogue = read(write("items.csv", "item,Is_Available\na,TRUE\nb,0\nc, yes \nd,No\ne,1\nf,false\n"))
    assert catalogue.content["available"].dtype == pl.Boolean
    assert catalogue.content["available"].to_list() == [True, False, True, False, True, False]


def test_available_may_be_boolean_or_a_number_in_parquet(tmp_path: Path) -> None:
    for values in ([True, False], [1, 0]):
        pl.DataFrame({"item": ["a", "b"], "available": values}).write_parquet(tmp_path / "items.parquet")
        assert read(tmp_path / "items.parquet").content["available"].to_list() == [True, False]


@pytest.mark.parametrize(("word", "told"), [("perhaps", "it is 'perhaps'"), ("", "it is empty")])
def test_another_word_in_available_is_refused_with_its_line(write: Write, word: str, told: str) -> None:
    with pytest.raises(
        DataError,
        match=f"expected true or false, 1 or 0, yes or no in column 'available' of .*, but {told} in items.csv:3;",
    ):
        read(write("items.csv", f"item,available\na,yes\nb,{word}\n"))


def test_a_column_of_that_name_need_not_play_the_role(write: Write) -> None:
    path = write("items.csv", "item,available\na,perhaps\n")
    table = read_table(path)
    options = BuildOptions(columns={"available": ""})
    catalogue = read_catalogue(table, item_columns(path, table.frame.columns, options))
    assert catalogue.content.to_dicts() == [{"available": "perhaps"}]
