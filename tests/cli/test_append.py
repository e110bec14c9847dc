from __future__ import annotations

from pathlib import Path

import pytest

from fuserec.testing.commands import RunCommand


@pytest.fixture
def shop(fuserec: RunCommand, tmp_path: Path) -> Path:
    (tmp_path / "events.csv").write_text("user,item,time,split\na,1,5,train\na,2,6,test\nb,1,7,train\n")
    done = fuserec("data", "build", tmp_path / "shop", "--events", tmp_path / "events.csv")
    assert done.code == 0, done.err
    return tmp_path / "shop"


def test_append_describes_the_new_dataset(fuserec: RunCommand, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("who,item,time,split\nc,3,8,train\n")
    (tmp_path / "items.csv").write_text("item,title\n3,Cup\n")
    more = ["--events", tmp_path / "more.csv", "--items", tmp_path / "items.csv", "--columns", "user=who"]
    done = fuserec("data", "append", shop, tmp_path / "new", *more)
    assert (done.code, done.err) == (0, "")
    assert done.out == (tmp_path / "new" / "summary.md").read_text()
    assert "1 event, 1 user and 1 item added to the dataset" in done.out
    assert fuserec("data", "append", shop, tmp_path / "new", *more).code == 1
    again = fuserec("data", "append", shop, tmp_path / "new", *more, "--overwrite", "--json")
    assert again.json["counts"]["users"] == 3
    assert len(again.json["parent"]) == 64


def test_a_split_column_keeps_its_name(fuserec: RunCommand, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("user,item,time,fold\nc,1,8,train\n")
    done = fuserec(
        "data", "append", shop, tmp_path / "new", "--events", tmp_path / "more.csv", "--columns", "split=fold"
    )
    assert done.err.startswith("error: split=fold cannot be given here: a split column keeps the name")
