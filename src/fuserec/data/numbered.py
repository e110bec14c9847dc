"""Users and items with their rows."""

from __future__ import annotations

import polars as pl

__all__ = ["numbered"]


def numbered(frame: pl.DataFrame, *, first: int = 0) -> pl.DataFrame:
    """The frame behind a column ``row``, which counts up from ``first``."""
    row = pl.int_range(first, first + frame.height, eager=True, dtype=pl.Int64).alias("row")
    return pl.DataFrame([row]).hstack(frame.get_columns())
