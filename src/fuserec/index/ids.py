"""Ids as people give them: in a file, or between commas."""

from __future__ import annotations

from pathlib import Path

from fuserec.errors import DataError

__all__ = ["ids_or_file", "read_ids", "split_ids"]


def read_ids(path: Path) -> list[str]:
    """The ids of a text file, one a line; blank lines do not count.

    Raises:
        DataError: the file cannot be read as text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"expected a text file with an id a line, got {path}: {error}") from error
    return [line.strip() for line in lines if line.strip()]


def split_ids(text: str) -> list[str]:
    """The ids between commas.

    Example:
        >>> split_ids("a, b,,c"), split_ids("")
        (['a', 'b', 'c'], [])
    """
    return [part.strip() for part in text.split(",") if part.strip()]


def ids_or_file(text: str) -> list[str]:
    """The ids of the file of that name, or the ids between commas."""
    path = Path(text)
    return read_ids(path) if path.is_file() else split_ids(text)
