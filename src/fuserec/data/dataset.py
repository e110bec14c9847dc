"""A dataset folder, opened."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pydantic
from numpy.typing import NDArray

from fuserec.data.schema import DATASET_FORMAT, FORMAT_VERSION, OLDEST_READABLE, PARTS, Manifest
from fuserec.errors import ConfigError, DataError, nearest
from fuserec.files import hash_json, read_array, read_arrays, read_json, sha256_file

if TYPE_CHECKING:
    from fuserec.batch import Modality, Prepared

__all__ = ["ENCODED_PARTS", "PROBLEMS", "Dataset"]

ENCODED_PARTS = ("inputs", "raw")
"""Arrays with a row an item that features have where `fuserec features` made them; see `Dataset.feature_array`."""

PROBLEMS = ".problems.csv"
"""How the name of the table ends in which `fuserec features` keeps what it told of single items."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """What `fuserec.data.build` wrote.

    Attributes:
        path: the folder.
        manifest: what it says of itself.
        manifest_hash: names the dataset; every run keeps it.
        users: ``row`` and ``user_id``.
        items: ``row``, ``item_id``, and ``title``, ``category``, ``text``, ``image`` and other columns
            where the items file had them.
    """

    path: Path
    manifest: Manifest
    manifest_hash: str
    users: pl.DataFrame
    items: pl.DataFrame

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = True) -> Dataset:
        """Open a dataset folder.

        Args:
            path: the folder.
            verify: read every file and compare its hash with the manifest's.

        Raises:
            DataError: the folder is no dataset, was written by a newer fuserec, or has changed since.
        """
        path = Path(path)
        manifest, manifest_hash = _read_manifest(path)
        for name, entry in manifest.files.items():
            file = path / name
            if not file.is_file() or file.stat().st_size != entry.bytes:
                raise _changed(path, name)
            if verify and sha256_file(file) != entry.sha256:
                raise _changed(path, name)
        return cls(
            path=path,
            manifest=manifest,
            manifest_hash=manifest_hash,
            users=_read_frame(path, "users.parquet"),
            items=_read_frame(path, "items.parquet"),
        )

    @property
    def num_users(self) -> int:
        """Number of users."""
        return self.manifest.counts.users

    @property
    def num_items(self) -> int:
        """Number of items, with those that have no event."""
        return self.manifest.counts.items

    @property
    def user_ids(self) -> pl.Series:
        """(U,) original ids, row by row."""
        return self.users["user_id"]

    @property
    def item_ids(self) -> pl.Series:
        """(I,) original ids, row by row."""
        return self.items["item_id"]

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return tuple(self.manifest.splits)

    @property
    def repeats(self) -> bool:
        """A user may have an item again, so seen items stay candidates."""
        return self.manifest.options.repeats == "keep"

    def interactions(self) -> pl.DataFrame:
        """``user`` and ``item`` rows, ``time`` and ``rating`` where there are any, and all other columns."""
        return _read_frame(self.path, "interactions.parquet")

    def rejected(self) -> pl.DataFrame:
        """The rows of the log that were left out, with ``line`` and ``reason``; empty if none was."""
        if "rejected.parquet" not in self.manifest.files:
            return pl.DataFrame()
        return _read_frame(self.path, "rejected.parquet")

    def parts(self, split: str | None = None) -> pl.Series:
        """``train``, ``valid`` or ``test`` for every row of the interactions; None takes the only split.

        Raises:
            ConfigError: there is no such split, or several and none is named.
        """
        return _read_frame(self.path, f"splits/{self.split_name(split)}.parquet")["part"].cast(pl.String)

    def split_name(self, split: str | None = None) -> str:
        """The name of a split; None takes the only one.

        Raises:
            ConfigError: there is no such split, or several and none is named.
        """
        if split is None:
            if len(self.splits) == 1:
                return self.splits[0]
            raise ConfigError(
                f"expected the name of a split, since {self.path} has several: {', '.join(self.splits)}"
            )
        if split not in self.splits:
            raise ConfigError(f"no split {split!r} in {self.path}; {nearest(split, self.splits)}")
        return split

    def feature_array(self, modality: str, part: str = "") -> NDArray[Any]:
        """An array of a modality that has features, memory-mapped.

        Args:
            modality: its name.
            part: ``""`` for the (I, width) matrix itself, ``"present"`` for the (I,) mask; where `fuserec features`
                made them, ``"inputs"`` for the (I, 32) hashes of what was encoded, zero where there was nothing, and
                ``"raw"`` for the (I, W) rows before their projection, if there is one.

        Raises:
            DataError: the file is broken.
        """
        return read_array(self.path / "features" / f"{self._stem(modality)}{part and '.'}{part}.npy")

    def has_feature_array(self, modality: str, part: str) -> bool:
        """Whether `feature_array` has that part."""
        return f"features/{self._stem(modality)}.{part}.npy" in self.manifest.files

    def _stem(self, modality: str) -> str:
        entry = self.manifest.modalities[modality].features
        return (entry and entry.stem) or modality

    def prepare(self, split: str | None = None) -> Prepared:
        """The dataset under one split, as plain arrays.

        Args:
            split: its name; None takes the only one.

        Raises:
            ConfigError: there is no such split, or several and none is named.
            DataError: a file is broken.
        """
        # Here and not above, because describing or building a dataset needs no torch.
        import torch

        from fuserec.batch import Corpus, Pairs, Prepared

        name = self.split_name(split)
        pairs = self.interactions().select("user", "item")
        parts = self.parts(name)
        arrays = {
            part: tuple(
                np.array(pairs[column].filter(parts == part).to_numpy(), dtype=np.int64)
                for column in ("user", "item")
            )
            for part in PARTS
        }
        of = {
            part: Pairs(users=torch.from_numpy(users), items=torch.from_numpy(items))
            for part, (users, items) in arrays.items()
        }
        corpus = Corpus(
            num_users=self.num_users,
            num_items=self.num_items,
            train=of["train"],
            modalities=tuple(self._modality(modality) for modality in self.manifest.modalities),
        )
        return Prepared(
            corpus=corpus,
            valid=of["valid"],
            test=of["test"],
            split=name,
            repeats=self.repeats,
            dataset_hash=self.manifest_hash,
            split_hash=_hash(array for part in PARTS for array in arrays[part]),
        )

    def _modality(self, name: str) -> Modality:
        """What is known of one modality, as tensors."""
        import torch

        from fuserec.batch import KnnGraph, Modality

        entry = self.manifest.modalities[name]
        features = graph = None
        present = torch.zeros(self.num_items, dtype=torch.bool)
        if entry.graph is not None:
            arrays = read_arrays(self.path / "graphs" / f"{name}.npz")
            graph = KnnGraph(
                neighbours=torch.from_numpy(arrays["neighbours"].astype(np.int64)),
                weights=torch.from_numpy(arrays["weights"]),
            )
            present = (graph.neighbours >= 0).any(dim=1)
        if entry.features is not None:
            features = torch.from_numpy(np.array(self.feature_array(name), dtype=np.float32))
            present = torch.from_numpy(np.array(self.feature_array(name, "present")))
        return Modality(name=name, present=present, features=features, graph=graph)


def _read_manifest(path: Path) -> tuple[Manifest, str]:
    """The manifest and its hash.

    Raises:
        DataError: there is none, it is broken, or a newer fuserec wrote it.
    """
    if not path.is_dir():
        raise DataError(
            f"expected a dataset folder, but {path} {'is a file' if path.exists() else 'does not exist'}"
        )
    if not (path / "manifest.json").is_file():
        raise DataError(f"expected a dataset folder, but {path} holds no manifest.json")
    value = read_json(path / "manifest.json")
    if not isinstance(value, dict) or value.get("format") != DATASET_FORMAT:
        raise DataError(f"expected a dataset folder, but {path}/manifest.json is that of something else")
    version, oldest = value.get("format_version"), value.get("oldest_readable")
    if isinstance(oldest, int) and oldest > FORMAT_VERSION:
        raise DataError(
            f"expected a dataset of format {FORMAT_VERSION} or older, but {path} is of format {version}; "
            "upgrade fuserec, or build the dataset again"
        )
    if not isinstance(version, int) or version < OLDEST_READABLE:
        raise DataError(
            f"expected a dataset of format {OLDEST_READABLE} or newer, but {path} is of format {version}; "
            "build the dataset again"
        )
    try:
        return Manifest.model_validate(value), hash_json(value)
    except (pydantic.ValidationError, ValueError) as error:
        first = str(error).splitlines()
        raise DataError(
            f"expected the manifest of a dataset in {path}/manifest.json, got: {' '.join(first[1:3]) or first[0]}"
        ) from error


def _changed(path: Path, name: str) -> DataError:
    return DataError(
        f"expected {path / name} as it was built, but it was changed or removed afterwards; build the dataset again"
    )


def _read_frame(path: Path, name: str) -> pl.DataFrame:
    # From bytes in memory: polars would map the file, and a file that shrinks under a map kills the process.
    try:
        return pl.read_parquet(io.BytesIO((path / name).read_bytes()))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _changed(path, name) from error


def _hash(arrays: Iterable[NDArray[np.int64]]) -> str:
    """SHA-256 over the little-endian int64 bytes of the arrays, one after the other."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.astype("<i8").tobytes())
    return digest.hexdigest()
