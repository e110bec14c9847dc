from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from fuserec.errors import ConfigError, DataError
from fuserec.index import export
from fuserec.index.export import write_table

FRAME = pl.DataFrame({"user_id": ["a", "b"], "score": [0.5, 0.25]})


def test_a_table_comes_back_from_every_format(tmp_path: Path) -> None:
    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        ".parquet": pl.read_parquet,
        ".csv": pl.read_csv,
        ".jsonl": pl.read_ndjson,
    }
    for ending, read in readers.items():
        path = tmp_path / f"table{ending}"
        write_table(FRAME, path)
        assert read(path).equals(FRAME)


def test_an_unknown_ending_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"expected a file ending in .parquet, .csv, .jsonl, got .*table.xlsx"
    ):
        write_table(FRAME, tmp_path / "table.xlsx")


def test_a_file_that_exists_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("mine")
    with pytest.raises(DataError, match=r"table\.csv exists; choose another or pass --overwrite"):
        write_table(FRAME, path)
    assert path.read_text() == "mine"
    write_table(FRAME, path, overwrite=True)
    assert path.read_text().startswith("user_id,score")


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected .*nowhere to be a folder"):
        write_table(FRAME, tmp_path / "nowhere" / "table.csv")


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export, "write_bytes", full)
    with pytest.raises(DataError, match=r"could not write .*table.csv: No space left on device"):
        write_table(FRAME, tmp_path / "table.csv")
    assert list(tmp_path.iterdir()) == []
