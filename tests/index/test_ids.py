from __future__ import annotations

from pathlib import Path

import pytest

from fuserec.errors import DataError
from fuserec.index.ids import ids_or_file, read_ids, split_ids


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
    assert ids_or_file(str(path)) == read_ids(path)


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xff"])
def test_a_file_without_ids_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ids.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"^expected a text file with an id a line, (but|got) .*ids\.txt"):
        read_ids(path)
