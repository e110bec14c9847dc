from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from fuserec.data.more_items import read_more_items
from fuserec.data.numbered import numbered
from fuserec.data.schema import BuildOptions
from fuserec.errors import DataError
from fuserec.files import sha256_file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "more.csv"
    path.write_text("item,name,colour\n7,hat,red\n1,mug,blue\n5,cup,green\n2,pot,grey\n", encoding="utf-8")
    return path


def test_new_items_stand_in_the_order_of_the_file_and_known_ones_are_passed_over(file: Path) -> None:
    more = read_more_items(file, pl.Series([1, 2, 3]), BuildOptions(), remedy="none")
    assert more.ids.to_list() == [7, 1, 5, 2]
    assert more.there.to_list() == [False, True, False, True]
    assert more.new.to_dict(as_series=False) == {
        "item_id": [7, 5],
        "title": ["hat", "cup"],
        "colour": ["red", "green"],
    }
    assert more.roles == {"item": "item", "title": "name"}
    assert (more.source.name, more.source.sha256) == ("more.csv", sha256_file(file))
    (named,) = more.passed_over("their name", named=1)
    assert named.line() == "2 items of more.csv already there; their name stays (1, ...)"
    (unnamed,) = more.passed_over("their name")
    assert unnamed.line() == "2 items of more.csv already there; their name stays"


def test_where_all_are_new_nothing_is_passed_over_and_ids_are_of_the_type_of_those_known(file: Path) -> None:
    more = read_more_items(file, pl.Series(["a", "07"]), BuildOptions(), remedy="none")
    assert more.new["item_id"].to_list() == ["7", "1", "5", "2"]
    assert more.passed_over("their name", named=5) == []


def test_an_id_that_cannot_be_of_the_type_of_those_known_is_refused_with_what_to_do(file: Path) -> None:
    file.write_text("item\n7\n08\n", encoding="utf-8")
    with pytest.raises(
        DataError, match=r"as ids of items in .*more\.csv, as the dataset has them, got '08'; go home"
    ):
        read_more_items(file, pl.Series([1]), BuildOptions(), remedy="go home")


def test_rows_count_up_from_the_first() -> None:
    frame = numbered(pl.DataFrame({"item_id": ["a", "b"]}), first=3)
    assert frame.schema == {"row": pl.Int64, "item_id": pl.String}
    assert frame.rows() == [(3, "a"), (4, "b")]
    assert numbered(frame.drop("row"))["row"].to_list() == [0, 1]
