"""A prepared dataset as one .npz of plain arrays: what a machine without data libraries can train on."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fuserec.batch import Corpus, KnnGraph, Modality, Pairs, Prepared
from fuserec.errors import DataError
from fuserec.files import read_arrays, write_bytes

__all__ = ["load_prepared", "save_prepared"]

FORMAT = 1


def save_prepared(prepared: Prepared, path: Path) -> None:
    """Write a prepared dataset to one .npz, beside its place and renamed."""
    corpus = prepared.corpus
    arrays: dict[str, Any] = {
        "format": np.int64(FORMAT),
        "num_users": np.int64(corpus.num_users),
        "num_items": np.int64(corpus.num_items),
        "repeats": np.bool_(prepared.repeats),
        "split": np.str_(prepared.split),
        "dataset_hash": np.str_(prepared.dataset_hash),
        "split_hash": np.str_(prepared.split_hash),
        "modalities": np.array([modality.name for modality in corpus.modalities], dtype=np.str_),
    }
    for part, pairs in (("train", corpus.train), ("valid", prepared.valid), ("test", prepared.test)):
        arrays[f"{part}.users"], arrays[f"{part}.items"] = pairs.users.numpy(), pairs.items.numpy()
    for modality in corpus.modalities:
        arrays[f"{modality.name}.present"] = modality.present.numpy()
        if modality.features is not None:
            arrays[f"{modality.name}.features"] = modality.features.numpy()
        if modality.graph is not None:
            arrays[f"{modality.name}.neighbours"] = modality.graph.neighbours.numpy()
            arrays[f"{modality.name}.weights"] = modality.graph.weights.numpy()
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_bytes(Path(path), buffer.getvalue())


def load_prepared(path: Path) -> Prepared:
    """Read what `save_prepared` wrote.

    Raises:
        DataError: the file is missing, broken, or of another format.
    """
    arrays = read_arrays(path)
    stored = arrays.get("format")
    if stored is None or stored.tolist() != FORMAT:
        found = "no format" if stored is None else f"format {stored.tolist()!r:.40}"
        raise DataError(
            f"expected a prepared dataset of format {FORMAT} in {path}, got {found}; prepare the dataset again"
        )
    try:
        return _from_arrays(arrays)
    except KeyError as error:
        raise DataError(f"expected a prepared dataset in {path}, but it has no array {error}") from error
    except (TypeError, ValueError) as error:
        raise DataError(f"expected a prepared dataset in {path}, got: {error}; prepare it again") from error


def _from_arrays(arrays: dict[str, NDArray[Any]]) -> Prepared:
    def tensor(name: str) -> torch.Tensor:
        return torch.from_numpy(arrays[name])

    def rows(name: str, bound: str, like: str) -> torch.Tensor:
        array = arrays[name]
        if array.dtype != np.int64 or array.shape != (arrays[like].size,):
            raise ValueError(f"{name} of type {array.dtype} and shape {array.shape}")
        if array.size and not (array.min() >= 0 and array.max() < arrays[bound]):
            raise ValueError(f"a row of {name} outside 0 to {bound}")
        return tensor(name)

    def modality(name: str) -> Modality:
        return Modality(
            name=name,
            present=tensor(f"{name}.present"),
            features=tensor(f"{name}.features") if f"{name}.features" in arrays else None,
            graph=KnnGraph(neighbours=tensor(f"{name}.neighbours"), weights=tensor(f"{name}.weights"))
            if f"{name}.neighbours" in arrays
            else None,
        )

    for name in ("num_users", "num_items"):
        if arrays[name].shape != ():
            raise ValueError(f"{name} of shape {arrays[name].shape}")
    pairs = {
        part: Pairs(
            users=rows(f"{part}.users", "num_users", f"{part}.items"),
            items=rows(f"{part}.items", "num_items", f"{part}.users"),
        )
        for part in ("train", "valid", "test")
    }
    return Prepared(
        corpus=Corpus(
            num_users=int(arrays["num_users"]),
            num_items=int(arrays["num_items"]),
            train=pairs["train"],
            modalities=tuple(modality(str(name)) for name in arrays["modalities"]),
        ),
        valid=pairs["valid"],
        test=pairs["test"],
        split=str(arrays["split"]),
        repeats=bool(arrays["repeats"]),
        dataset_hash=str(arrays["dataset_hash"]),
        split_hash=str(arrays["split_hash"]),
    )
