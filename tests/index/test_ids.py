from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from fuserec.errors import DataError
from fuserec.index.ids import close_ids, ids_or_file, read_ids, split_ids


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", []),
        (" , ,", []),
        ("a, b c,,d", ["a", "b c", "d"]),
        ('"a,b", c', ["a,b", "c"]),
        ('"say ""hi""",5" nail', ['say "hi"', '5" nail']),
        ("a\r\nb\nc", ["a", "b", "c"]),
        ("a\u2028b", ["a\u2028b"]),
    ],
)
def test_ids_between_commas_are_read_as_csv_writes_them(text: str, ids: list[str]) -> None:
    assert split_ids(text) == ids


def test_ids_of_a_file_are_taken_to_the_letter(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_bytes('\ufeff a\r\n\r\n \nb \na,b\n"q"\nc\u2028d\x0be'.encode())
    assert read_ids(path) == [" a", "b ", "a,b", '"q"', "c\u2028d\x0be"]
    assert ids_or_file(f"@{path}") == read_ids(path)


def test_only_an_at_sign_names_a_file() -> None:
    assert ids_or_file("a,@b") == ["a", "@b"]
    assert ids_or_file('"@a",b') == ["@a", "b"]
    told = r"^expected a text file with an id a line, got nowhere.txt: No such file or directory$"
    with pytest.raises(DataError, match=told):
        ids_or_file("@nowhere.txt")


def test_an_id_with_one_slip_is_found_among_many() -> None:
    known = pl.Series([f"item-{number:06d}" for number in range(100_000)])
    assert close_ids("item-0x1234", known)[0].endswith("1234")
    assert close_ids("ltem-001234", known) == ["item-001234"]
    assert close_ids("itme-001234", known) == ["item-001234"]
    assert close_ids("items-001234", known) == ["item-001234"]
    assert close_ids("(tem-001234", known) == ["item-001234"]
    assert close_ids("something else", known) == []
    assert close_ids(1235, pl.Series([12, 1234, 999])) == ["1234"]
    assert close_ids("x", known) == []
    assert close_ids("", known) == []
    assert close_ids("é" * 100_000, known) == []
    assert close_ids("é" * 100, known) == []


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xff"])
def test_a_file_without_ids_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ids.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"^expected a text file with an id a line, (but|got) .*ids\.txt"):
        read_ids(path)


def test_a_file_without_ids_is_an_empty_list_where_it_may_be(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_text("\n \n")
    assert ids_or_file(f"@{path}", may_be_empty=True) == []
