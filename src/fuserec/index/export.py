"""A table of recommendations as a file."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import polars as pl

from fuserec.errors import ConfigError, DataError
from fuserec.files import write_bytes

__all__ = ["check_place", "write_table"]

_WRITERS: dict[str, Callable[[pl.DataFrame, io.BytesIO], object]] = {
    ".parquet": pl.DataFrame.write_parquet,
    ".csv": pl.DataFrame.write_csv,
    ".jsonl": pl.DataFrame.write_ndjson,
}


def check_place(path: Path, *, overwrite: bool = False) -> None:
    """Refuse a place for a table, before the work for it is done.

    Raises:
        ConfigError: the ending is none of those known.
        DataError: the file exists and ``overwrite`` is false, or its folder does not exist.
    """
    if path.suffix not in _WRITERS:
        raise ConfigError(f"expected a file ending in {', '.join(_WRITERS)}, got {path}")
    if path.exists() and not overwrite:
        raise DataError(f"expected a new file, but {path} exists; choose another or pass --overwrite")
    if not path.parent.is_dir():
        raise DataError(f"expected {path.parent} to be a folder, but it is none; make it first")


def write_table(frame: pl.DataFrame, path: Path, *, overwrite: bool = False) -> None:
    """Write a table as Parquet, CSV or JSON lines, as the ending of its name says, whole or not at all.

    Raises:
        ConfigError: the ending is none of those.
        DataError: the file exists and ``overwrite`` is false, or cannot be written.
    """
    check_place(path, overwrite=overwrite)
    buffer = io.BytesIO()
    _WRITERS[path.suffix](frame, buffer)
    try:
        write_bytes(path, buffer.getvalue())
    except OSError as error:
        raise DataError(f"could not write {path}: {error.strerror or error}") from error
