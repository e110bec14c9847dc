"""A row for every item: taken over where the dataset has one for the same input, else encoded.

Shape legend
    I  items   W  width of an encoder's row
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fuserec.content.encoder import Encoder
from fuserec.data.dataset import Dataset
from fuserec.errors import DataError
from fuserec.features.inputs import Inputs
from fuserec.features.store import Told, read_told
from fuserec.features.work import encode_all
from fuserec.training.progress import Progress

__all__ = ["Known", "Rows", "known_rows", "rows_of_items"]

_Words = tuple[str, str, bool]
"""Kind, message and whether the input was lost: what is told of an input, whichever items have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What became of inputs already.

    Attributes:
        row_of: row by hash.
        rows: (R, W), zero where the input was lost.
        lost: (R,).
        told: by hash.
    """

    row_of: Mapping[bytes, int]
    rows: NDArray[np.float32]
    lost: NDArray[np.bool_]
    told: Mapping[bytes, Sequence[_Words]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of all items.

    Attributes:
        rows: (I, W), zero where absent.
        present: (I,).
        told: in the order in which the inputs were looked for, then of the items.
        encoded: inputs that were encoded for it; equal ones count once.
        vanished: (I,) True where a picture was there when it was looked for and not when it was read.
    """

    rows: NDArray[np.float32]
    present: NDArray[np.bool_]
    told: Sequence[Told]
    encoded: int
    vanished: NDArray[np.bool_]


def known_rows(dataset: Dataset, modality: str, *, width: int) -> Known:
    """What the dataset has of a modality whose features fuserec made.

    Raises:
        DataError: it is not for as many items as there are, or a file is broken.
    """
    part = "raw" if dataset.has_feature_array(modality, "raw") else ""
    told: dict[bytes, list[_Words]] = {}
    for one in read_told(dataset, modality):
        if one.input:
            words = told.setdefault(bytes.fromhex(one.input), [])
            if (one.kind, one.message, one.lost) not in words:
                words.append((one.kind, one.message, one.lost))
    hashes = dataset.feature_array(modality, "inputs")
    rows = dataset.feature_array(modality, part)
    if hashes.shape != (dataset.num_items, 32) or rows.shape != (dataset.num_items, width):
        raise DataError(
            f"expected the {modality} features of {dataset.path}, {width} wide, and what they were made of for "
            f"{dataset.num_items} items, got {rows.shape} and {hashes.shape}; pass --fresh to make them anew"
        )
    return Known(
        row_of={hashed: row for row, hashed in enumerate(_each(hashes)) if any(hashed)},
        rows=rows,
        lost=~np.any(rows, axis=1),
        told=told,
    )


def rows_of_items(
    item_ids: pl.Series,
    inputs: Inputs,
    encoder: Encoder,
    known: Known | None,
    *,
    what: str,
    place: Path,
    progress: Progress,
) -> Rows:
    """The rows of all items; inputs of one hash are encoded once.

    Args:
        item_ids: (I,).
        inputs: of all items.
        encoder: for those that are not known.
        known: what is taken over; None takes over nothing.
        what: the work's name, for who watches.
        place: where finished batches are kept.
        progress: who watches.
    """
    hashes = _each(inputs.hashes)
    given = [row for row, value in enumerate(inputs.values) if value is not None]
    first: dict[bytes, int] = {}
    for row in given:
        if known is None or hashes[row] not in known.row_of:
            first.setdefault(hashes[row], row)
    new = _encode(inputs, first, encoder, what=what, place=place, progress=progress)
    rows = np.zeros((len(hashes), encoder.width), dtype=np.float32)
    present = np.zeros(len(hashes), dtype=bool)
    vanished = np.zeros(len(hashes), dtype=bool)
    told = list(inputs.told)
    ids = item_ids.cast(pl.String)
    for row in given:
        hashed = hashes[row]
        source = new if known is None or hashed in first else known
        there = source.row_of[hashed]
        rows[row], present[row] = source.rows[there], not source.lost[there]
        told += [
            Told(
                item_id=ids[row],
                source=inputs.sources[row],
                kind=kind,
                message=message,
                lost=lost,
                input=hashed.hex(),
            )
            for kind, message, lost in source.told.get(hashed, ())
        ]
        vanished[row] = any(kind == "missing" for kind, _, _ in source.told.get(hashed, ()))
    return Rows(rows=rows, present=present, told=told, encoded=len(first), vanished=vanished)


def _encode(
    inputs: Inputs,
    first: Mapping[bytes, int],
    encoder: Encoder,
    *,
    what: str,
    place: Path,
    progress: Progress,
) -> Known:
    """Encode the inputs of the given hashes, each in the row of ``first``."""
    names = list(first)
    lost, told = np.zeros(len(names), dtype=bool), dict[bytes, list[_Words]]()
    rows = np.zeros((0, encoder.width), dtype=np.float32)
    if names:
        progress.start(len(names), what)
        try:
            encoded = encode_all(
                encoder,
                [inputs.values[row] for row in first.values()],
                [name.hex() for name in names],
                place,
                progress=progress,
            )
        finally:
            progress.done()
        rows = encoded.rows
        for one in encoded.problems:
            lost[one.position] |= one.lost
            told.setdefault(names[one.position], []).append((one.kind, one.message, one.lost))
    return Known(row_of={name: row for row, name in enumerate(names)}, rows=rows, lost=lost, told=told)


def _each(hashes: NDArray[np.uint8]) -> list[bytes]:
    """(I,) the hashes as bytes."""
    width, whole = hashes.shape[1], np.ascontiguousarray(hashes).tobytes()
    return [whole[start : start + width] for start in range(0, len(whole), width)]
