"""Numbers of one table beside those of another: no digit is lost untold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from fuserec.errors import DataError

__all__ = ["require_exact"]


def require_exact(column: pl.Series, kind: Any, where: Callable[[int], str]) -> None:
    """Refuse an integer that would not come back from a column of another type.

    Args:
        column: as it stands in its table.
        kind: the polars type that the column is to have.
        where: file and line of a row, for the message.

    Raises:
        DataError: the column holds such an integer.
    """
    if not column.dtype.is_integer() or column.dtype == kind or not len(column.drop_nulls()):
        return
    bits, others = (53, "floats") if kind.is_float() else (63, "signed integers")
    for row in (column.arg_max(), column.arg_min()):
        if row is not None and not -(2**bits) <= column[row] < 2**bits:
            raise DataError(
                f"expected integers below 2**{bits} in the column {column.name!r}, since the others have {others} "
                f"there, but {where(row)} holds {column[row]}; store the column as text in every file"
            )
