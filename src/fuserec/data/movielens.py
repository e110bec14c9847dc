"""MovieLens 1M's own files as the tables that `fuserec data build` reads.

Source: https://grouplens.org/datasets/movielens/1m/. Its files have no header, ``::`` between the fields, and are in
Latin-1: ``ratings.dat`` holds user, movie, rating and seconds UTC; ``movies.dat`` holds movie, title and genres.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from fuserec.errors import DataError
from fuserec.files import write_bytes

__all__ = ["write_tables"]

_TABLES = {
    "ratings": ("userId", "movieId", "rating", "timestamp"),
    "movies": ("movieId", "title", "genres"),
}


def write_tables(folder: Path) -> None:
    """Write ``ratings.csv`` and ``movies.csv`` beside ``ratings.dat`` and ``movies.dat``.

    Raises:
        DataError: a line has another number of fields.
    """
    for name, columns in _TABLES.items():
        source = folder / f"{name}.dat"
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        # Only a newline ends a line here; str.splitlines would split at other letters of Latin-1 too.
        lines = source.read_bytes().decode("latin-1").removesuffix("\n").split("\n")
        writer.writerows(
            _fields(source, number, line, columns)
            for number, line in enumerate(lines, start=1)
            if line.strip()
        )
        write_bytes(folder / f"{name}.csv", text.getvalue().encode())


def _fields(source: Path, number: int, line: str, columns: Sequence[str]) -> list[str]:
    fields = line.removesuffix("\r").split("::")
    if len(fields) != len(columns):
        raise DataError(
            f"expected {len(columns)} fields ({', '.join(columns)}) with '::' between them, "
            f"got {len(fields)} in {source.name}:{number}"
        )
    return fields
