from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from fuserec.data import Dataset
from fuserec.data.build import Sources, build
from fuserec.data.sources.parts import find_parts, read_parts
from fuserec.errors import DataError

WriteFile = Callable[[str, str | bytes], Path]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Three packed parts, a bad row in the second and in the third."""
    folder = tmp_path / "logs"
    folder.mkdir()
    for name, text in {
        "part-1.csv.gz": "user,item,time\na,1,10\na,2,20\n",
        "part-0.csv.gz": "user,item,time\nb,1,5\n",
        "part-2.csv.gz": "item,user,time\n3,,30\n2,b,40\n1,b,50\n",
    }.items():
        (folder / name).write_bytes(gzip.compress(text.encode()))
    (folder / "_SUCCESS").touch()
    (folder / ".part-0.csv.crc").touch()
    return folder


@pytest.mark.parametrize("pattern", ["", "*.csv.gz", "part-[0-2].csv.gz", "../**/part-*"])
def test_a_folder_or_a_pattern_is_one_log_in_the_order_of_the_names(logs: Path, pattern: str) -> None:
    table = read_parts(logs / pattern)
    assert table.frame.rows() == [
        ("b", "1", "5"),
        ("a", "1", "10"),
        ("a", "2", "20"),
        (None, "3", "30"),
        ("b", "2", "40"),
        ("b", "1", "50"),
    ]
    assert [table.where(row) for row in (0, 1, 2, 5)] == [
        "part-0.csv.gz:2",
        "part-1.csv.gz:2",
        "part-1.csv.gz:3",
        "part-2.csv.gz:4",
    ]


def test_the_report_and_the_dataset_say_in_which_part_a_line_is(logs: Path, tmp_path: Path) -> None:
    dataset = build(tmp_path / "out", Sources(events=logs))
    told = [finding.line() for finding in dataset.manifest.report.findings if finding.rejected]
    assert told == [
        "1 event left out: a missing user (part-2.csv.gz:2)",
        "1 event left out: a duplicate of an earlier event (part-2.csv.gz:4)",
    ]
    interactions = pl.read_parquet(tmp_path / "out" / "interactions.parquet")
    assert interactions.select(pl.col("file").cast(pl.String), "line").rows() == [
        ("part-0.csv.gz", 2),
        ("part-1.csv.gz", 2),
        ("part-1.csv.gz", 3),
        ("part-2.csv.gz", 3),
    ]
    rejected = pl.read_parquet(tmp_path / "out" / "rejected.parquet")
    assert rejected.select(pl.col("file").cast(pl.String), "line", "user").rows() == [
        ("part-2.csv.gz", 2, None),
        ("part-2.csv.gz", 4, "b"),
    ]
    assert {
        role: source.name for role, source in Dataset.open(tmp_path / "out").manifest.sources.items()
    } == {
        "events/1": "part-0.csv.gz",
        "events/2": "part-1.csv.gz",
        "events/3": "part-2.csv.gz",
    }


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(write: WriteFile) -> None:
    path = write("log[1].csv", "user,item\n1,2\n")
    assert find_parts(path) == (path,)


def test_parts_of_json_lines_may_lack_keys_and_numbers_may_be_whole(write: WriteFile, tmp_path: Path) -> None:
    write("a.jsonl", '{"user": 1, "rating": 4}\n')
    write("b.jsonl", '{"user": 2, "rating": 4.5, "page": "x"}\n{"user": 3, "rating": null}\n')
    frame = read_parts(tmp_path / "*.jsonl").frame
    assert frame.rows() == [(1, 4.0, None), (2, 4.5, "x"), (3, None, None)]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (
            {"a.csv": "user,item\n", "b.csv": "user,thing\n"},
            "same columns .* b.csv differs .* 'item', 'thing'",
        ),
        ({"a.csv": "user,item\n", "b.tsv": "user\titem\n"}, "parts of one format .* a.csv and b.tsv"),
        ({"a.csv": "user,item\n", "b.txt": "user"}, "expected tables only in .*, but b.txt is none"),
        (
            {"a.jsonl": '{"user": 1}\n', "b.jsonl": '{"user": "x"}\n'},
            "Int64 in a.jsonl and String in b.jsonl",
        ),
        ({"a.csv": "user,item\n1,2\n", "b.csv": "user,item\n1\n"}, "b.csv:2 has 1"),
        ({"_none.csv": "user,item\n"}, "expected at least one file in .*, found none"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path: Path, files: dict[str, str], told: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=told):
        read_parts(tmp_path)


def test_a_pattern_that_nothing_fits_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected at least one file in .*\*\.csv, found none"):
        read_parts(tmp_path / "*.csv")


def test_a_part_whose_name_is_no_utf_8_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"log-\xff.csv")).write_text("user,item\na,1\n")
    with pytest.raises(
        DataError, match=r"^expected a file name in UTF-8, got '.*log-\\udcff\.csv'; rename it$"
    ):
        read_parts(tmp_path)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (
            pl.Series([1, 2**63 + 5], dtype=pl.UInt64),
            pl.Series([3, 1]),
            r"expected integers below 2\*\*63 in the column 'user_id', since the others have signed integers there, "
            r"but a\.parquet row 2 holds 9223372036854775813; store the column as text in every file",
        ),
        (
            pl.Series([0.5, 1.5]),
            pl.Series([-(2**53) - 1, 1]),
            r"below 2\*\*53 in the column 'user_id', .* have floats there, but b\.parquet row 1 holds -9007199254740993",
        ),
        (
            pl.Series([1, 2]),
            pl.Series(["1.50", "2.25"]).cast(pl.Decimal(10, 2)),
            r"expected one type in the column 'user_id' of all parts, but it is Int64 in a\.parquet and Decimal",
        ),
    ],
)
def test_numbers_of_parts_that_one_type_cannot_hold_are_refused(
    tmp_path: Path, first: pl.Series, second: pl.Series, told: str
) -> None:
    for name, users in {"a": first, "b": second}.items():
        pl.DataFrame({"user_id": users, "item_id": [1, 2]}).write_parquet(tmp_path / f"{name}.parquet")
    with pytest.raises(DataError, match=told):
        read_parts(tmp_path)


def test_integers_beside_floats_or_unsigned_ones_keep_every_digit(tmp_path: Path) -> None:
    counts = {"a": pl.Series([2**53 - 1, None], dtype=pl.UInt64), "b": pl.Series([0.5, None])}
    for name, column in counts.items():
        users = pl.Series([2**63 - 1, 1], dtype=pl.UInt64 if name == "a" else pl.Int64)
        pl.DataFrame({"user": users, "count": column}).write_parquet(tmp_path / f"{name}.parquet")
    frame = read_parts(tmp_path).frame
    assert frame["user"].to_list() == [2**63 - 1, 1] * 2
    assert frame["count"].to_list() == [2**53 - 1, None, 0.5, None]
