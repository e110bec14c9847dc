"""A planned dataset as files; the manifest comes last, with the hash of every other file."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fuserec.data.dataset import PROBLEMS
from fuserec.data.plan import Plan
from fuserec.data.schema import PARTS, FileEntry
from fuserec.data.show import describe
from fuserec.errors import DataError
from fuserec.files import sha256_file, write_json, write_text

__all__ = ["FEATURES_AT_WORK", "SUMMARY", "write_dataset", "write_npy"]

SUMMARY = "summary.md"
FEATURES_AT_WORK = "features/.work"
"""Where `fuserec features` keeps what it has finished while it works; no part of the dataset."""


def write_dataset(folder: Path, plan: Plan) -> None:
    """Write every file of a dataset into an empty folder.

    Raises:
        OSError: the disk is full or refuses; `fuserec.files.new_folder` puts it in words.
        DataError: a column holds what Parquet cannot.
    """
    _write_frame(folder / "interactions.parquet", plan.interactions)
    _write_frame(folder / "users.parquet", plan.users)
    _write_frame(folder / "items.parquet", plan.items)
    if plan.rejected.height:
        _write_frame(folder / "rejected.parquet", plan.rejected)
    (folder / "splits").mkdir()
    for name, codes in plan.splits.items():
        parts = pl.Series("part", np.array(PARTS)[codes]).cast(pl.Enum(PARTS))
        _write_frame(folder / "splits" / f"{name}.parquet", parts.to_frame())
    if plan.features:
        (folder / "features").mkdir()
    for name, features in plan.features.items():
        shape = (len(features.rows), features.matrix.shape[1])
        write_npy(folder / "features" / f"{name}.npy", features.blocks(), shape, np.dtype(features.dtype))
        for part, array in {"present": features.present, **features.parts}.items():
            write_npy(folder / "features" / f"{name}.{part}.npy", [array], array.shape, array.dtype)
        if features.told:
            (folder / "features" / f"{name}{PROBLEMS}").write_bytes(features.told)
    if plan.graphs:
        (folder / "graphs").mkdir()
    for name, graph in plan.graphs.items():
        buffer = io.BytesIO()
        np.savez(buffer, neighbours=graph.neighbours.astype(np.int32), weights=graph.weights)
        (folder / "graphs" / f"{name}.npz").write_bytes(buffer.getbuffer())
    write_text(folder / SUMMARY, describe(plan.manifest))
    files = {
        path.relative_to(folder).as_posix(): FileEntry(bytes=path.stat().st_size, sha256=sha256_file(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    manifest = plan.manifest.model_copy(update={"files": files})
    write_json(folder / "manifest.json", manifest.model_dump(mode="json"))


def _write_frame(path: Path, frame: pl.DataFrame) -> None:
    # Through memory, so that a full disk is an OSError with its own words and not a broken Parquet file.
    buffer = io.BytesIO()
    try:
        frame.write_parquet(buffer, compression="zstd", statistics=False)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"expected columns that Parquet can hold in {path.name}, got: {error}") from error
    path.write_bytes(buffer.getbuffer())


def write_npy(
    path: Path, blocks: Iterable[NDArray[Any]], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> None:
    """Write an .npy file from blocks of rows.

    Raises:
        OSError: the disk is full or refuses.
    """
    # Not through a memory map: writing to one on a full disk kills the process.
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block).data)
