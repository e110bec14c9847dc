"""The categories of items, as lists of names.

Shape legend
    I  items
"""

from __future__ import annotations

import polars as pl

__all__ = ["categories_of"]


def categories_of(items: pl.DataFrame) -> pl.Series:
    """(I,) the categories of each item; in text, bars divide them.

    Args:
        items: I rows with ``category``.

    Example:
        >>> categories_of(pl.DataFrame({"category": ["Sea|Night", "Sea ", None]})).to_list()
        [['Sea', 'Night'], ['Sea'], []]
    """
    parts = items["category"]
    if parts.dtype != pl.List:
        parts = parts.cast(pl.String).str.split("|")
    stripped = parts.list.eval(pl.element().cast(pl.String).str.strip_chars())
    return stripped.list.eval(pl.element().filter(pl.element() != "")).fill_null([])
