"""Feature matrices made in a dataset folder: new files first, then the manifest that names them, then out with the old.

A file once named by a manifest never changes. So whatever kills the process, the dataset is either the old one or
the new one; a file that no manifest names is removed by the next run.

Shape legend
    I  items   D  width of the features   W  width before a projection
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fuserec.data.dataset import PROBLEMS, Dataset
from fuserec.data.schema import EncoderEntry, FeatureEntry, FileEntry, Manifest, ModalityEntry
from fuserec.data.show import describe
from fuserec.data.write import SUMMARY, write_npy
from fuserec.errors import DataError
from fuserec.files import sha256_file, write_bytes, write_json, write_text

__all__ = ["Made", "Told", "publish", "read_told", "tidy"]

_FOLDER = "features"
_OURS = re.compile(
    r"\.?[A-Za-z][A-Za-z0-9_-]*-[0-9a-f]{8}(\.(present|inputs|raw))?\.npy|.*-[0-9a-f]{8}\.problems\.csv"
)
_COLUMNS = ("item_id", "source", "kind", "lost", "message", "input")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Something a person should know about one item's input.

    Attributes:
        item_id: as the dataset writes it.
        source: the picture's file inside its folder; empty for other inputs.
        kind: a short name.
        message: the whole sentence.
        lost: the item has no features because of it.
        input: hash of the input; empty where there was none to encode.
    """

    item_id: str
    source: str
    kind: str
    message: str
    lost: bool
    input: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Features of one modality, whole.

    Attributes:
        rows: (I, D) float32, zero where absent.
        present: (I,).
        encoder: what the manifest says of how they were made.
        parts: arrays of `fuserec.data.dataset.ENCODED_PARTS`, those that there are.
        told: what was noticed, in the order of the items.
    """

    rows: NDArray[np.float32]
    present: NDArray[np.bool_]
    encoder: EncoderEntry
    parts: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    told: Sequence[Told] = ()


def publish(dataset: Dataset, made: Mapping[str, Made]) -> Dataset:
    """Put features into a dataset, in place of those of the same names.

    Args:
        dataset: its folder is written to.
        made: by modality.

    Returns:
        The same dataset with them.

    Raises:
        DataError: the folder cannot be written, or the disk is full; the dataset is then as it was.
    """
    old = dataset.manifest
    modalities, files = dict(old.modalities), dict(old.files)
    # For people only; it follows the manifest and would not fit it for a moment.
    files.pop(SUMMARY, None)
    try:
        (dataset.path / _FOLDER).mkdir(exist_ok=True)
        for name, features in made.items():
            for file in _files_of(old, name):
                files.pop(file, None)
            entry, new = _write(dataset.path / _FOLDER, name, features)
            modalities[name] = ModalityEntry(
                features=entry, graph=old.modalities[name].graph if name in old.modalities else None
            )
            files |= new
        manifest = old.model_copy(
            update={
                "modalities": dict(sorted(modalities.items())),
                "files": dict(sorted(files.items())),
                "ancestors": (*old.ancestors, dataset.manifest_hash),
            }
        )
        write_json(dataset.path / "manifest.json", manifest.model_dump(mode="json"))
    except OSError as error:
        raise DataError(f"could not write features into {dataset.path}: {error.strerror or error}") from error
    published = Dataset.open(dataset.path, verify=False)
    for file in sorted(set(old.files) - set(manifest.files) - {SUMMARY}):
        (dataset.path / file).unlink(missing_ok=True)
    tidy(published)
    return published


def tidy(dataset: Dataset) -> None:
    """See to what follows the manifest: the summary, and files that a killed run left and no manifest names."""
    manifest = dataset.manifest
    if not manifest.ancestors:
        return
    summary, text = dataset.path / SUMMARY, describe(manifest)
    if not summary.is_file() or summary.read_bytes() != text.encode():
        write_text(summary, text)
    for path in (dataset.path / _FOLDER).iterdir():
        if _OURS.fullmatch(path.name) and f"{_FOLDER}/{path.name}" not in manifest.files:
            path.unlink(missing_ok=True)


def read_told(dataset: Dataset, modality: str) -> list[Told]:
    """What was noticed when the features of a modality were made.

    Raises:
        DataError: the file is broken.
    """
    entry = dataset.manifest.modalities[modality].features
    file = f"{_FOLDER}/{(entry and entry.stem) or modality}{PROBLEMS}"
    if file not in dataset.manifest.files:
        return []
    try:
        rows = list(
            csv.DictReader(io.StringIO((dataset.path / file).read_text(encoding="utf-8"), newline=""))
        )
        for row in rows:
            bytes.fromhex(row["input"])
        return [Told(**{**row, "lost": row["lost"] == "yes"}) for row in rows]  # type: ignore[arg-type]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(f"expected a table of problems in {dataset.path / file}, got: {error}") from error


def _write(folder: Path, name: str, made: Made) -> tuple[FeatureEntry, dict[str, FileEntry]]:
    """Write the files of one modality; what the manifest says of it and of them."""
    arrays = {"": made.rows, "present": made.present, **made.parts}
    digest = hashlib.sha256()
    for part, array in arrays.items():
        digest.update(f"{part} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    # What is told may change where no row does, and its file must not change under the manifest that names it.
    digest.update(_table(made.told))
    stem = f"{name}-{digest.hexdigest()[:8]}"
    written = {}
    for part, array in arrays.items():
        path = folder / f"{stem}{part and '.'}{part}.npy"
        beside = path.with_name(f".{path.name}")
        try:
            write_npy(beside, [array], array.shape, array.dtype)
            with beside.open("rb") as file:
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            # Where the disk was full, half of it would keep it so.
            beside.unlink(missing_ok=True)
        written[path.name] = path
    if made.told:
        path = folder / f"{stem}{PROBLEMS}"
        write_bytes(path, _table(made.told))
        written[path.name] = path
    entries = {
        f"{_FOLDER}/{file}": FileEntry(bytes=path.stat().st_size, sha256=sha256_file(path))
        for file, path in written.items()
    }
    entry = FeatureEntry(
        width=made.rows.shape[1],
        dtype="float32",
        present=int(made.present.sum()),
        stem=stem,
        encoder=made.encoder,
    )
    return entry, entries


def _table(told: Sequence[Told]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for one in told:
        writer.writerow(
            (one.item_id, one.source, one.kind, "yes" if one.lost else "no", one.message, one.input)
        )
    return text.getvalue().encode()


def _files_of(manifest: Manifest, modality: str) -> list[str]:
    """The feature files of a modality, as the manifest names them."""
    entry = manifest.modalities.get(modality)
    if entry is None or entry.features is None:
        return []
    stem = entry.features.stem or modality
    return [file for file in manifest.files if file.startswith(f"{_FOLDER}/{stem}.")]
