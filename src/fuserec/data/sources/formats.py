"""Which format reads which file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fuserec.data.sources.csv import SEPARATORS, read_csv
from fuserec.data.sources.parquet import PARQUET_SUFFIXES, read_parquet
from fuserec.data.sources.table import Table
from fuserec.errors import DataError

__all__ = ["read_table", "require_file"]


def read_table(path: Path) -> Table:
    """The table in a CSV, TSV or Parquet file; the suffix decides.

    Raises:
        DataError: the file is missing, a folder, empty, of another format, or broken.
    """
    path = Path(path)
    require_file(path, [*SEPARATORS, *PARQUET_SUFFIXES])
    if path.suffix.lower() in PARQUET_SUFFIXES:
        return read_parquet(path)
    return read_csv(path, separator=SEPARATORS[path.suffix.lower()])


def require_file(path: Path, suffixes: Iterable[str]) -> None:
    """Refuse a path that is no readable, non-empty file with one of the suffixes.

    Raises:
        DataError: the file is missing, a folder, empty, or of another format.
    """
    try:
        if path.is_dir():
            raise DataError(f"expected a file, but {path} is a folder")
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except FileNotFoundError as error:
        raise DataError(f"expected the file {path}, but it does not exist") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if path.suffix.lower() not in suffixes:
        known = ", ".join(suffixes)
        raise DataError(f"expected a file that ends in {known}, got {path}")
    if size == 0:
        raise DataError(f"expected a table or an array, but {path} is empty")
