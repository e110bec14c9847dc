"""A table as it stands in its file, or in several files that are parts of one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
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
        path: the file; the folder or the pattern where there are several.
        frame: its columns under their own names; all text when ``is_text``.
        numbers: (rows,) the line of a text file on which a row begins, counted from 1 with the header,
            or the row of a Parquet file, counted from 1.
        is_text: the file knows no types (CSV, TSV).
        has_lines: ``numbers`` are lines.
        blank_lines: lines with nothing on them, which are no rows.
        files: where the table is of several files, their names.
        starts: the row of the table with which each of them begins.
    """

    path: Path
    frame: pl.DataFrame
    numbers: NDArray[np.int64]
    is_text: bool
    has_lines: bool = True
    blank_lines: int = 0
    files: Sequence[str] = ()
    starts: Sequence[int] = ()

    def where(self, row: int) -> str:
        """File and line of a row, for people."""
        name = self.files[bisect_right(self.starts, row) - 1] if self.files else self.path.name
        return f"{name}{':' if self.has_lines else ' row '}{self.numbers[row]}"

    def places(self) -> list[pl.Series]:
        """(rows,) ``file`` where there are several, and ``line``: where each row stands."""
        line = pl.Series("line", self.numbers)
        if not self.files:
            return [line]
        sizes = np.diff([*self.starts, self.frame.height])
        codes = np.repeat(np.arange(len(self.files), dtype=np.uint32), sizes)
        return [pl.Series("file", self.files, dtype=pl.Enum(self.files)).gather(codes), line]
