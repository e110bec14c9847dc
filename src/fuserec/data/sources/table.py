"""A table as it stands in its file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["Table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns of a file, unfiltered, and where each row stands.

    Attributes:
        path: the file.
        frame: its columns under their own names; all text when ``is_text``.
        numbers: (rows,) the line of a text file on which a row begins, counted from 1 with the header,
            or the row of a Parquet file, counted from 1.
        is_text: the file knows no types (CSV, TSV).
        blank_lines: lines with nothing on them, which are no rows.
    """

    path: Path
    frame: pl.DataFrame
    numbers: NDArray[np.int64]
    is_text: bool
    blank_lines: int = 0

    def where(self, row: int) -> str:
        """File and line of a row, for people."""
        return f"{self.path.name}{':' if self.is_text else ' row '}{self.numbers[row]}"
