"""Ready feature matrices, attached by name and matched to the items.

Shape legend
    I  items   R  rows of the file   width  features
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fuserec.data.columns import find_id_column
from fuserec.data.ids import as_ids, from_array, rows_of
from fuserec.data.report import count
from fuserec.data.schema import EncoderEntry, FeatureEntry, Finding
from fuserec.data.sources.formats import require_file
from fuserec.data.sources.parquet import PARQUET_SUFFIXES, read_parquet
from fuserec.errors import DataError
from fuserec.files import read_array, read_arrays

__all__ = ["Features", "match_rows", "read_features"]

_BLOCK_BYTES = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """A feature matrix, still in its file, and which of its rows belongs to which item.

    Attributes:
        matrix: (R, width) as it came.
        rows: (I,) row of the matrix for each item, -1 where there is none.
        present: (I,) True where the item has a row that is not all zero.
        dtype: float16 if it came so, else float32.
        findings: what was noticed.
        encoder: how they were made; None where they came ready.
        parts: further arrays by name, as `fuserec.data.dataset.Dataset.feature_array` gives them.
        told: the table of what was told of single items when they were made; empty where nothing was.
    """

    matrix: NDArray[Any]
    rows: NDArray[np.int64]
    present: NDArray[np.bool_]
    dtype: Literal["float16", "float32"]
    findings: tuple[Finding, ...]
    encoder: EncoderEntry | None = None
    parts: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    told: bytes = b""

    @property
    def entry(self) -> FeatureEntry:
        """What the manifest says of it."""
        return FeatureEntry(
            width=self.matrix.shape[1],
            dtype=self.dtype,
            present=int(self.present.sum()),
            encoder=self.encoder,
        )

    def blocks(self) -> Iterator[NDArray[Any]]:
        """The features of the items in order, a block of rows at a time; zero rows where absent."""
        for rows in _row_blocks(self.rows, self.matrix.shape[1]):
            block = _cast(self.matrix[rows.clip(min=0)], self.dtype)
            block[rows < 0] = 0
            yield block


def read_features(name: str, path: Path, item_ids: pl.Series, *, ordered: bool) -> Features:
    """Read and check a feature matrix.

    Args:
        name: of the modality.
        path: .npy with a row for every item in the order of the items file; .npz with ``features`` and
            ``ids``; or Parquet with an id column and one column of lists.
        item_ids: (I,) ids of the items.
        ordered: the items have an order of their own (an items file was given), so rows without ids mean
            something.

    Raises:
        DataError: the file is broken, has another number of rows, an unknown layout, no width, an id
            twice, or a value that is not finite.
    """
    require_file(path, (".npy", ".npz", *PARQUET_SUFFIXES))
    matrix, ids = _read(path)
    _check_shape(path, matrix)
    findings: list[Finding] = []
    if ids is None:
        rows = _by_order(path, len(matrix), len(item_ids), ordered=ordered)
    else:
        rows, findings = match_rows(f"the {name} features", path, ids, item_ids)
    dtype: Literal["float16", "float32"] = "float16" if matrix.dtype.itemsize == 2 else "float32"
    present = _check_values(path, matrix, rows, dtype, item_ids)
    absent = len(present) - int(present.sum())
    if absent:
        message = f"{count(absent, 'item')} without {name} features (no row, or a row of zeros)"
        findings.append(Finding(kind="missing features", count=absent, message=message))
    return Features(matrix=matrix, rows=rows, present=present, dtype=dtype, findings=tuple(findings))


def match_rows(
    what: str, path: Path, ids: pl.Series, item_ids: pl.Series
) -> tuple[NDArray[np.int64], list[Finding]]:
    """(I,) the row of the file for each item, -1 where there is none, and ids that are no items.

    Raises:
        DataError: an id stands there twice, or none is known.
    """
    if ids.null_count():
        raise DataError(f"expected an id for every row of {path}, but {ids.null_count()} rows have none")
    again = ids.filter(~ids.is_first_distinct())
    if len(again):
        raise DataError(f"expected every id of {path} once, but {again[0]!r} is there more than once")
    matched = rows_of(item_ids.cast(ids.dtype) if ids.dtype == pl.String else item_ids, ids)
    rows: NDArray[np.int64] = matched.fill_null(-1).to_numpy()
    unknown = len(ids) - int((rows >= 0).sum())
    if unknown == len(ids):
        raise DataError(
            f"expected the ids of {path} to be item ids such as {item_ids[0]!r}, but none is; the first is {ids[0]!r}"
        )
    if not unknown:
        return rows, []
    message = f"{count(unknown, 'row')} of {what} left out: the id is not an item ({path.name})"
    return rows, [
        Finding(kind="unknown id", count=unknown, message=message, rejected=True, refused_by_strict=True)
    ]


def _read(path: Path) -> tuple[NDArray[Any], pl.Series | None]:
    """The matrix, and the ids of its rows where the file has them."""
    if path.suffix.lower() == ".npy":
        return read_array(path), None
    if path.suffix.lower() != ".npz":
        return _read_lists(path)
    arrays = read_arrays(path)
    if set(arrays) != {"features", "ids"}:
        found = ", ".join(map(repr, arrays)) or "none"
        raise DataError(f"expected the arrays 'features' and 'ids' in {path}, found {found}")
    matrix, ids = arrays["features"], from_array(arrays["ids"], f"'ids' of {path}")
    if matrix.ndim and len(matrix) != len(ids):
        raise DataError(f"expected an id for each of the {len(matrix)} rows of {path}, got {len(ids)}")
    return matrix, ids


def _read_lists(path: Path) -> tuple[NDArray[Any], pl.Series]:
    """A Parquet table with an id column and one column of lists; a missing list is a missing item."""
    table = read_parquet(path)
    lists = [name for name, kind in table.frame.schema.items() if isinstance(kind, pl.List | pl.Array)]
    if len(lists) != 1:
        found = ", ".join(map(repr, lists)) or "none"
        raise DataError(f"expected one column of lists (the features) in {path}, found {found}")
    ids = as_ids(table, find_id_column(path, [name for name in table.frame.columns if name not in lists]))
    column = table.frame[lists[0]]
    given = column.is_not_null()
    column, ids = column.filter(given), ids.filter(given)
    if isinstance(column.dtype, pl.Array):
        column = column.arr.to_list()
    widths = column.list.len().unique().sort().to_list() or [0]
    if len(widths) > 1:
        raise DataError(
            f"expected lists of one length in column {lists[0]!r} of {path}, got lengths {widths[0]} to {widths[-1]}"
        )
    width = widths[0]
    flat = column.explode() if width else pl.Series([], dtype=pl.Float32)
    return flat.to_numpy().reshape(len(column), width), ids


def _check_shape(path: Path, matrix: NDArray[Any]) -> None:
    if matrix.dtype.kind != "f" or matrix.dtype.itemsize > 8:
        raise DataError(
            f"expected features of type float16, float32 or float64 in {path}, got {matrix.dtype}"
        )
    if matrix.ndim != 2:
        raise DataError(f"expected a matrix (items, width) in {path}, got the shape {matrix.shape}")
    if not matrix.shape[1]:
        raise DataError(f"expected at least one feature an item in {path}, got the shape {matrix.shape}")


def _by_order(path: Path, num_rows: int, num_items: int, *, ordered: bool) -> NDArray[np.int64]:
    if not ordered:
        raise DataError(
            f"the rows of {path} have no ids, so they need an items file to tell their order; "
            "pass --items, or a .npz with 'features' and 'ids'"
        )
    if num_rows != num_items:
        raise DataError(
            f"expected {num_items} rows in {path}, one for every item in the order of the items file, got {num_rows}"
        )
    return np.arange(num_items)


def _check_values(
    path: Path, matrix: NDArray[Any], rows: NDArray[np.int64], dtype: str, item_ids: pl.Series
) -> NDArray[np.bool_]:
    """(I,) True where a row is not all zero.

    Raises:
        DataError: a value is not finite.
    """
    present = np.zeros(len(rows), dtype=bool)
    wrong: list[int] = []
    start = 0
    for part in _row_blocks(rows, matrix.shape[1]):
        block = _cast(matrix[part.clip(min=0)], dtype)
        block[part < 0] = 0
        present[start : start + len(part)] = block.any(axis=1)
        wrong.extend((start + np.flatnonzero(~np.isfinite(block).all(axis=1))).tolist())
        start += len(part)
    if wrong:
        first = ", ".join(f"row {rows[item]} (item {item_ids[item]!r})" for item in wrong[:3])
        raise DataError(
            f"expected finite {dtype} features in {path}, but {len(wrong)} rows hold NaN or infinity: {first}"
            + (", ..." if len(wrong) > 3 else "")
            + "; use a row of zeros for an item that has none"
        )
    return present


def _row_blocks(rows: NDArray[np.int64], width: int) -> Iterator[NDArray[np.int64]]:
    size = max(1, _BLOCK_BYTES // (8 * width))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _cast(block: NDArray[Any], dtype: str) -> NDArray[Any]:
    """A copy in the type of the dataset; what overflows becomes infinite, and is then refused."""
    with np.errstate(over="ignore"):
        return np.array(block, dtype=dtype)
