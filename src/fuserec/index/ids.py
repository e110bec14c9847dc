"""Ids as people give them: in a file, between commas, or misspelt."""

from __future__ import annotations

import csv
import difflib
import re
from pathlib import Path

import polars as pl

from fuserec.errors import DataError

__all__ = ["close_ids", "ids_or_file", "read_ids", "split_ids"]


def read_ids(path: Path, *, may_be_empty: bool = False) -> list[str]:
    """The ids of a text file, one a line, to the letter; blank lines do not count.

    Raises:
        DataError: the file cannot be read as text, or holds no id and must hold one.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else None  # str() names the file again
        raise DataError(f"expected a text file with an id a line, got {path}: {reason or error}") from error
    # An id may begin or end with a space or hold a letter at which str.splitlines would break the line.
    ids = [line for line in text.split("\n") if line.strip()]
    if not ids and not may_be_empty:
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


def ids_or_file(text: str, *, may_be_empty: bool = False) -> list[str]:
    """The ids between commas, or after an ``@`` those of the file of that name.

    An id that itself begins with an ``@`` is quoted.

    Raises:
        DataError: the file cannot be read as text, or holds no id and must hold one.
    """
    return read_ids(Path(text[1:]), may_be_empty=may_be_empty) if text.startswith("@") else split_ids(text)


def close_ids(wanted: str | int, known: pl.Series, *, most: int = 1) -> list[str]:
    """Known ids that look like ``wanted``, the closest first, at most ``most``.

    Only ids that agree with it but for two letters side by side are looked at, a thousand at most, and none for a
    text of more than a hundred letters: a hint must not take seconds on millions of items.

    Example:
        >>> close_ids("B0l1", pl.Series(["B011", "B0121", "A400"]))
        ['B011']
    """
    text = str(wanted)
    if not 0 < len(text) <= 100:
        return []
    slips = (f"{re.escape(text[:at])}.{{0,3}}{re.escape(text[at + 2 :])}" for at in range(len(text)))
    written = known.cast(pl.String)
    near = written.filter(written.str.contains(f"^(?:{'|'.join(slips)})$"))
    return difflib.get_close_matches(text, near.head(1000).to_list(), n=most)
