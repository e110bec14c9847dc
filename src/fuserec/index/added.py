"""The items that were added to a run after training, in a folder of the run.

``added/manifest.json`` names the files of all that was ever added, with their hashes. It is written last and at once, so
after a kill at any moment the run knows either the items of before or all of the new ones. A file that it does not name
is nothing, and is removed by the next addition. Neither the dataset nor any other file of the run changes.

Shape legend
    I  items of the dataset   N  added items
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from fuserec.data.stacked import stacked
from fuserec.errors import CheckpointError, DataError
from fuserec.files import read_json, sha256_file, write_bytes, write_json
from fuserec.index.extension import NewRows
from fuserec.index.recommend import Recommender
from fuserec.models.protocol import Scorer
from fuserec.shapes import Bool
from fuserec.training.checkpoint import ADDED, Run, is_added_file, read_scorer

__all__ = ["Added", "with_added", "write_added"]

_FORMAT, _VERSION = "fuserec added items", 1
_REMEDY = "remove that folder and add the items again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """All items that were added to a run.

    Attributes:
        path: the folder.
        manifest: what it says of itself.
        items: N rows: ``row``, which goes on where the dataset's ends, ``item_id`` and content.
    """

    path: Path
    manifest: Mapping[str, Any]
    items: pl.DataFrame

    @classmethod
    def open(cls, run: Run) -> Added | None:
        """What was added to a run; None where nothing was.

        Raises:
            CheckpointError: it is damaged, was added to another run, or was written by a newer fuserec.
        """
        path = run.path / ADDED
        if not (path / "manifest.json").exists():
            return None
        manifest = _manifest(path)
        if manifest["run_scorer"] != _hash_of_scorer(run):
            raise CheckpointError(
                f"expected in {path} what was added to {run.path}, but it was added to another run; {_REMEDY}"
            )
        try:
            items = pl.read_parquet(io.BytesIO(_verified(path, manifest, "items.parquet").read_bytes()))
        except pl.exceptions.PolarsError as error:
            raise _damaged(path, str(error)) from error
        return cls(path=path, manifest=manifest, items=items)

    def scorer(self) -> Scorer:
        """The run's scorer with rows for the added items.

        Raises:
            CheckpointError: the file is damaged.
        """
        return read_scorer(_verified(self.path, self.manifest, "scorer.safetensors"))

    def features(self) -> dict[str, NewRows]:
        """Content of the added items by modality.

        Raises:
            CheckpointError: the file is damaged.
        """
        file = _verified(self.path, self.manifest, "features.safetensors")
        try:
            tensors = safetensors.torch.load_file(file)
        except (OSError, SafetensorError) as error:
            raise _damaged(self.path, str(error)) from error
        return {
            name: NewRows(features=tensors[name], present=tensors[_mask_of(name)])
            for name in tensors
            if _mask_of(name) in tensors
        }


def write_added(
    run: Run,
    about: Mapping[str, Any],
    *,
    items: pl.DataFrame,
    features: Mapping[str, NewRows],
    scorer: Scorer,
) -> None:
    """Put all that was ever added to a run in the place of what was there.

    Args:
        run: whose folder it is.
        about: what the manifest says beside the files: ``columns`` by role at least.
        items: as in `Added`.
        features: of all of them, by modality.
        scorer: the run's with rows for them.

    Raises:
        CheckpointError: a link stands in the place of the folder.
        OSError: the disk is full or refuses.
    """
    folder = run.path / ADDED
    if folder.is_symlink():
        # What is written and removed in it would be so elsewhere.
        raise CheckpointError(f"expected a folder of the run, but {folder} is a link; remove it")
    folder.mkdir(exist_ok=True)
    files: dict[str, dict[str, Any]] = {}
    for name, content in _contents(items, features, scorer).items():
        digest = hashlib.sha256(content).hexdigest()
        stem, _, suffix = name.partition(".")
        files[name] = {"file": f"{stem}-{digest[:12]}.{suffix}", "bytes": len(content), "sha256": digest}
        write_bytes(folder / files[name]["file"], content)
    said = {"format": _FORMAT, "format_version": _VERSION, "run_scorer": _hash_of_scorer(run)}
    write_json(folder / "manifest.json", {**said, **about, "files": files})
    named = {"manifest.json", *(each["file"] for each in files.values())}
    for file in folder.iterdir():
        if file.name not in named and is_added_file(file.name):
            file.unlink()


def with_added(recommender: Recommender, added: Added) -> Recommender:
    """The same recommender, which knows the added items as well.

    Args:
        recommender: knows the items of the dataset.
        added: what was added to its run.

    Raises:
        CheckpointError: it is damaged, or was added to a run on another dataset.
    """
    scorer, first, number = added.scorer(), recommender.items.height, added.items.height
    if scorer.num_items != first + number:
        raise CheckpointError(
            f"expected a scorer of {first + number} items in {added.path}, got one of {scorer.num_items}; {_REMEDY}"
        )
    available = recommender.available
    if available is not None or "available" in added.manifest["columns"]:
        old = torch.ones(first, dtype=torch.bool) if available is None else available
        available = torch.cat([old, _availability(added.items)])
    return replace(
        recommender,
        scorer=scorer,
        items=stacked(recommender.items, added.items.drop("row"), added.path),
        popularity=torch.cat([recommender.popularity, recommender.popularity.new_zeros(number)]),
        available=available,
        first_added=first,
    )


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = read_json(path / "manifest.json")
    except DataError as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
        raise _damaged(path, "manifest.json is that of something else")
    if manifest.get("format_version") != _VERSION:
        raise CheckpointError(
            f"expected added items of format {_VERSION} in {path}, got {manifest.get('format_version')!r}; upgrade "
            f"fuserec, or {_REMEDY}"
        )
    for key in ("run_scorer", "columns", "additions", "files"):
        if key not in manifest:
            raise _damaged(path, f"manifest.json says nothing of {key}")
    return manifest


def _contents(items: pl.DataFrame, features: Mapping[str, NewRows], scorer: Scorer) -> dict[str, bytes]:
    table = io.BytesIO()
    items.write_parquet(table, compression="zstd", statistics=False)
    tensors: dict[str, Tensor] = {}
    for name, each in features.items():
        tensors |= {name: each.features.contiguous(), _mask_of(name): each.present.contiguous()}
    scores = {name: tensor.contiguous() for name, tensor in scorer.tensors().items()}
    return {
        "items.parquet": table.getvalue(),
        "features.safetensors": safetensors.torch.save(tensors),
        "scorer.safetensors": safetensors.torch.save(scores, metadata={"kind": scorer.kind}),
    }


def _mask_of(modality: str) -> str:
    """No modality has a dot in its name."""
    return f"{modality}.present"


def _hash_of_scorer(run: Run) -> str:
    try:
        return sha256_file(run.path / "scorer.safetensors")
    except OSError as error:
        raise CheckpointError(f"expected a scorer in {run.path}, got: {error}") from error


def _availability(items: pl.DataFrame) -> Bool[Tensor, " N"]:
    """(N,) False where an added item is withdrawn; one of which nothing is said is available."""
    if "available" not in items.columns:
        return torch.ones(items.height, dtype=torch.bool)
    return torch.from_numpy(items["available"].fill_null(value=True).to_numpy(writable=True))


def _verified(path: Path, manifest: Mapping[str, Any], name: str) -> Path:
    """A file that the manifest names, after a look at its hash."""
    try:
        entry = manifest["files"][name]
        file = path / Path(entry["file"]).name
        if sha256_file(file) == entry["sha256"]:
            return file
    except (KeyError, TypeError, OSError) as error:
        raise _damaged(path, f"{name} is missing") from error
    raise _damaged(path, f"{file.name} was changed")


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"expected what was added to a run in {path}, but {reason}; {_REMEDY}")
