from __future__ import annotations

from pathlib import Path

import pytest

from fuserec.cli.filters import filters_of
from fuserec.errors import DataError


def test_a_file_that_excludes_nothing_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sold-out.txt"
    path.write_text("\n")
    assert filters_of(None, f"@{path}", None).exclude == []
    assert capsys.readouterr().err == f"--exclude @{path} names no item: none is excluded\n"
    path.write_text("a\n")
    assert filters_of(None, f"@{path}", None).exclude == ["a"]
    assert capsys.readouterr().err == ""


def test_a_file_that_allows_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "only.txt"
    path.touch()
    with pytest.raises(
        DataError, match=r"^expected a text file with an id a line, but .*only\.txt holds none$"
    ):
        filters_of(f"@{path}", None, None)
