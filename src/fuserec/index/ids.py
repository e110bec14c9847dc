"""Ids as people give them: in a file, or between commas."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from fuserec.errors import DataError

__all__ = ["ids_or_file", "read_ids", "split_ids"]


def read_ids(path: Path) -> list[str]:
    """The ids of a text file, one a line, to the letter; blank lines do not count.

    Raises:
        DataError: the file cannot be read as text, or holds no id.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"expected a text file with an id a line, got {path}: {error}") from error
    # An id may begin or end with a space or hold a letter at which str.splitlines would break the line.
    ids = [line for line in text.split("\n") if line.strip()]
    if not ids:
        raise DataError(f"expected a text file with an id a line, but {path} holds none")
    return ids


def split_ids(text: str) -> list[str]:
    """The ids between commas; one that holds a comma is quoted as in CSV.

    Example:
        >>> split_ids("a, b,,c"), split_ids(""), split_ids('"a,b", c')
        (['a', 'b', 'c'], [], ['a,b', 'c'])
    """
    (parts,) = csv.reader([re.sub(r"[\r\n]", ",", text)], skipinitialspace=True)
    return [part.strip() for part in parts if part.strip()]


def ids_or_file(text: str) -> list[str]:
    """The ids of the file of that name, or the ids between commas."""
    path = Path(text)
    return read_ids(path) if path.is_file() else split_ids(text)
