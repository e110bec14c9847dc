"""Ready neighbour graphs, attached by name and matched to the items.

Shape legend
    I  items   R  rows of the file   K  neighbours
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fuserec.data.features import match_rows
from fuserec.data.ids import from_array
from fuserec.data.report import count
from fuserec.data.schema import Finding, GraphEntry
from fuserec.data.sources.formats import require_file
from fuserec.errors import DataError
from fuserec.files import read_arrays

__all__ = ["NeighbourGraph", "read_graph"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourGraph:
    """A neighbour list for every item.

    Attributes:
        neighbours: (I, K) int64 item rows, -1 where there is none.
        weights: (I, K) float32, 0 where there is no neighbour.
        findings: what was noticed.
    """

    neighbours: NDArray[np.int64]
    weights: NDArray[np.float32]
    findings: tuple[Finding, ...]

    @property
    def entry(self) -> GraphEntry:
        """What the manifest says of it."""
        present = int((self.neighbours >= 0).any(axis=1).sum())
        return GraphEntry(neighbours=self.neighbours.shape[1], present=present)


def read_graph(name: str, path: Path, item_ids: pl.Series, *, ordered: bool) -> NeighbourGraph:
    """Read and check a neighbour graph.

    Args:
        name: of the modality.
        path: .npz with ``neighbours`` (row numbers, -1 for none), ``weights`` or ``cosine`` of the same
            shape and, unless the rows stand in the order of the items file, the ``ids`` of the rows.
        item_ids: (I,) ids of the items.
        ordered: the items have an order of their own (an items file was given).

    Raises:
        DataError: the file is broken, lacks an array, or holds a shape, a row number or a weight that
            cannot be.
    """
    require_file(path, (".npz",))
    arrays = read_arrays(path)
    weight_name = _check_names(path, arrays)
    neighbours, weights = arrays["neighbours"], arrays[weight_name]
    _check_arrays(path, neighbours, weights, weight_name)
    neighbours, weights = neighbours.astype(np.int64), weights.astype(np.float32)
    weights[neighbours < 0] = 0
    findings: list[Finding] = []
    if "ids" in arrays:
        ids = from_array(arrays["ids"], f"'ids' of {path}")
        if len(ids) != len(neighbours):
            raise DataError(
                f"expected an id for each of the {len(neighbours)} rows of {path}, got {len(ids)}"
            )
        rows, findings = match_rows(f"the {name} graph", path, ids, item_ids)
        neighbours, weights = _renumber(neighbours, weights, rows)
    elif not ordered:
        raise DataError(
            f"the rows of {path} have no ids, so they need an items file to tell their order; "
            "pass --items, or add an array 'ids'"
        )
    elif len(neighbours) != len(item_ids):
        raise DataError(
            f"expected {len(item_ids)} rows in {path}, one for every item in the order of the items file, "
            f"got {len(neighbours)}"
        )
    alone = int((neighbours < 0).all(axis=1).sum())
    if alone:
        message = f"{count(alone, 'item')} without a neighbour in the {name} graph"
        findings.append(Finding(kind="missing neighbours", count=alone, message=message))
    return NeighbourGraph(neighbours=neighbours, weights=weights, findings=tuple(findings))


def _check_names(path: Path, arrays: dict[str, NDArray[Any]]) -> str:
    """The name under which the weights are."""
    named = [name for name in ("weights", "cosine") if name in arrays]
    if "neighbours" not in arrays or len(named) != 1:
        found = ", ".join(map(repr, arrays)) or "none"
        raise DataError(
            f"expected the arrays 'neighbours' and either 'weights' or 'cosine' in {path}, found {found}"
        )
    return named[0]


def _check_arrays(path: Path, neighbours: NDArray[Any], weights: NDArray[Any], weight_name: str) -> None:
    if neighbours.dtype.kind not in "iu" or neighbours.ndim != 2 or not neighbours.shape[1]:
        raise DataError(
            f"expected 'neighbours' (items, neighbours) of integers in {path}, "
            f"got {neighbours.dtype} of shape {neighbours.shape}"
        )
    if weights.dtype.kind != "f" or weights.shape != neighbours.shape:
        raise DataError(
            f"expected {weight_name!r} of numbers with the shape {neighbours.shape} in {path}, "
            f"got {weights.dtype} of shape {weights.shape}"
        )
    size = len(neighbours)
    wrong = (neighbours < -1) | (neighbours >= size) if neighbours.dtype.kind == "i" else neighbours >= size
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise DataError(
            f"expected neighbours from 0 to {size - 1}, or -1 for none, in {path}, "
            f"got {neighbours[row, column]} in row {row}"
        )
    there = neighbours >= 0
    with np.errstate(over="ignore"):
        infinite = np.flatnonzero((there & ~np.isfinite(weights.astype(np.float32))).any(axis=1))
    if len(infinite):
        raise DataError(
            f"expected finite {weight_name!r} in {path}, but {len(infinite)} rows hold NaN or infinity, "
            f"row {infinite[0]} first"
        )
    ordered = np.sort(neighbours.astype(np.int64), axis=1)
    twice = np.flatnonzero(((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(axis=1))
    if len(twice):
        raise DataError(
            f"expected every neighbour once in a row of {path}, but {len(twice)} rows repeat one, row {twice[0]} first"
        )


def _renumber(
    neighbours: NDArray[np.int64], weights: NDArray[np.float32], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """From the row numbers of the file to those of the items; ``rows`` (I,) holds the former by item."""
    item_of_row = np.full(len(neighbours) + 1, -1, dtype=np.int64)
    there = np.flatnonzero(rows >= 0)
    item_of_row[rows[there]] = there
    # The entry behind the last row stands for "no neighbour": -1 points to it.
    renumbered = np.full((len(rows), neighbours.shape[1]), -1, dtype=np.int64)
    renumbered[there] = item_of_row[neighbours[rows[there]]]
    kept = np.zeros(renumbered.shape, dtype=np.float32)
    kept[there] = weights[rows[there]]
    kept[renumbered < 0] = 0
    return renumbered, kept
