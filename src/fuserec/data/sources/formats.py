"""Which format reads which file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fuserec.data.sources.atomic import ATOMIC_SUFFIXES, read_atomic
from fuserec.data.sources.compressed import COMPRESSED_SUFFIXES, plain_suffix
from fuserec.data.sources.csv import SEPARATORS, read_csv
from fuserec.data.sources.jsonl import JSONL_SUFFIXES, read_jsonl
from fuserec.data.sources.parquet import PARQUET_SUFFIXES, read_parquet
from fuserec.data.sources.table import Table
from fuserec.errors import DataError

__all__ = ["is_table", "read_table", "require_file"]

_TEXT_SUFFIXES = (*SEPARATORS, *JSONL_SUFFIXES, *ATOMIC_SUFFIXES)


def read_table(path: Path) -> Table:
    """The table in a file; the suffix decides how it is read.

    Raises:
        DataError: the file is missing, a folder, empty, of another format, or broken.
    """
    path = Path(path)
    require_file(path, (*_TEXT_SUFFIXES, *PARQUET_SUFFIXES), packed=_TEXT_SUFFIXES)
    suffix = plain_suffix(path)
    if suffix in PARQUET_SUFFIXES:
        return read_parquet(path)
    if suffix in JSONL_SUFFIXES:
        return read_jsonl(path)
    if suffix in ATOMIC_SUFFIXES:
        return read_atomic(path)
    return read_csv(path, separator=SEPARATORS[suffix])


def is_table(path: Path) -> bool:
    """Whether the name is one that `read_table` takes.

    Example:
        >>> is_table(Path("log.csv.gz")), is_table(Path("README.md")), is_table(Path("log.parquet.gz"))
        (True, False, False)
    """
    return plain_suffix(path) in _TEXT_SUFFIXES or path.suffix.lower() in PARQUET_SUFFIXES


def require_file(path: Path, suffixes: Iterable[str], *, packed: Iterable[str] = ()) -> None:
    """Refuse a path that is no readable, non-empty file with one of the suffixes.

    Args:
        path: the file.
        suffixes: which it may have.
        packed: those that may have ``.gz`` or ``.zst`` behind them.

    Raises:
        DataError: the file is missing, a folder, a pipe, empty, of another format, or its name no UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:  # polars takes no other names, and no manifest could hold one
        raise DataError(f"expected a file name in UTF-8, got {str(path)!a}; rename it") from error
    try:
        if path.is_dir():
            raise DataError(f"expected a file, but {path} is a folder")
        size = path.stat().st_size
        if not path.is_file():  # opening a pipe would wait until someone writes
            raise DataError(f"expected a file, but {path} is a pipe or a device; write its content to a file")
        with path.open("rb"):
            pass
    except FileNotFoundError as error:
        raise DataError(f"expected the file {path}, but it does not exist") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if path.suffix.lower() not in suffixes and plain_suffix(path) not in packed:
        known = ", ".join(suffixes)
        behind = f" (text also with {' or '.join(COMPRESSED_SUFFIXES)} behind it)" if packed else ""
        raise DataError(f"expected a file that ends in {known}{behind}, got {path}")
    if size == 0:
        raise DataError(f"expected a table or an array, but {path} is empty")
