"""Parquet files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from fuserec.data.sources.table import Table
from fuserec.errors import DataError

__all__ = ["PARQUET_SUFFIXES", "read_parquet"]

PARQUET_SUFFIXES = (".parquet", ".pq")


def read_parquet(path: Path) -> Table:
    """The table in a Parquet file, with its own types.

    Raises:
        DataError: the file is no Parquet file, or a broken one.
    """
    try:
        frame = pl.read_parquet(path, glob=False, hive_partitioning=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"expected a Parquet file, but {path} cannot be read as one; it may be broken or cut short ({reason})"
        ) from error
    except pl.exceptions.PanicException as error:
        raise DataError(f"expected a Parquet file, but {path} is broken") from error
    for name in frame.columns:
        # A text file cannot hold one either, and our own columns while building are marked by it.
        if "\0" in name:
            raise DataError(f"expected names of columns without a NUL in {path}, got {name!r}; rename it")
    return Table(
        path=path,
        frame=frame,
        numbers=np.arange(1, frame.height + 1, dtype=np.int64),
        is_text=False,
        has_lines=False,
    )
