"""A run folder: what training leaves on disk, in JSON, TOML and safetensors only.

recipe.toml                  as it was given, where it came from a file
config.json                  as it was resolved: every default, the seed
provenance.json              commit, versions, threads, seed, hashes of the dataset and its split
scorer.safetensors           all that recommending needs; its kind is in the file's metadata
model.safetensors            the parameters of the best epoch (models trained by gradient)
log.jsonl                    one line an epoch: losses, validation, seconds, what a stage has made
metrics.json                 means per evaluation ("valid", "test", ...), each with its protocol
values/<evaluation>.npz      the same per user, for paired tests; never committed anywhere
added/                       items that came after training; `fuserec.index.added` writes and reads them
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from fuserec.errors import CheckpointError, ConfigError, DataError, ProtocolError, nearest
from fuserec.files import read_arrays, read_json, write_bytes, write_json
from fuserec.models.protocol import Scorer
from fuserec.models.registry import SCORERS
from fuserec.training.config import Recipe, parse_recipe
from fuserec.training.evaluate import Evaluation
from fuserec.training.evaluation_protocol import EvaluationProtocol

__all__ = ["ADDED", "RUN_FILES", "Run", "is_added_file", "read_scorer", "save_scorer", "save_tensors"]

RUN_FILES = (
    "recipe.toml",
    "config.json",
    "provenance.json",
    "scorer.safetensors",
    "model.safetensors",
    "log.jsonl",
    "metrics.json",
)
"""All that a run folder may hold, besides the arrays in values/ and the files in added/."""

ADDED = "added"
"""Name of the folder of items that came after training."""

ORIGIN = ("commit", "dataset_hash", "split_hash", "recipe_hash", "fit_seconds")
"""Keys of provenance.json that others rely on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run, read from its folder.

    Attributes:
        path: the folder.
        recipe: as resolved.
        provenance: where the run came from; see the module's docstring.
    """

    path: Path
    recipe: Recipe
    provenance: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path) -> Run:
        """Read a run folder's descriptions; the tensors are read when they are asked for.

        Raises:
            CheckpointError: the folder is missing, broken, or no run.
        """
        path = Path(path)
        if not path.is_dir():
            raise CheckpointError(
                f"expected a run folder, but {path} {'is a file' if path.exists() else 'does not exist'}; "
                "make one with 'fuserec train'"
            )
        try:
            recipe = parse_recipe(_read_table(path / "config.json"))
            provenance = _read_table(path / "provenance.json", required=ORIGIN)
        except (ConfigError, DataError) as error:
            raise CheckpointError(f"{path} is not a run folder that can be read: {error}") from error
        return cls(path=path, recipe=recipe, provenance=provenance)

    def scorer(self) -> Scorer:
        """The fitted model.

        Raises:
            CheckpointError: the file is missing or broken.
        """
        return read_scorer(self.path / "scorer.safetensors")

    def weights(self) -> dict[str, Tensor]:
        """The parameters of the best epoch; empty where there are none, as for a closed form.

        Raises:
            CheckpointError: the file is broken.
        """
        file = self.path / "model.safetensors"
        try:
            return load_file(file) if file.exists() else {}
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"expected the weights of the run in {file}, got: {error}") from error

    @property
    def metrics(self) -> dict[str, Any]:
        """What has been measured: evaluation -> {"protocol", "protocol_hash", "users", "metrics"}.

        Raises:
            CheckpointError: the file is missing or broken.
        """
        try:
            return dict(_read_table(self.path / "metrics.json"))
        except DataError as error:
            raise CheckpointError(str(error)) from error

    def store(self, name: str, evaluation: Evaluation) -> None:
        """Keep an evaluation; an older one of the same name is replaced."""
        (self.path / "values").mkdir(exist_ok=True)
        buffer = io.BytesIO()
        values = {"users": evaluation.users, **evaluation.values}
        np.savez_compressed(buffer, **{key: tensor.numpy() for key, tensor in values.items()})  # type: ignore[arg-type]
        write_bytes(self.path / "values" / f"{name}.npz", buffer.getvalue())
        write_json(self.path / "metrics.json", {**self.metrics, name: evaluation.summary()})

    def evaluation(self, name: str) -> Evaluation:
        """An evaluation that was kept, with its values of every user.

        Raises:
            CheckpointError: that evaluation has not been made, or cannot be read.
            ProtocolError: its protocol does not have the hash that was stored with the numbers.
        """
        file = self.path / "values" / f"{name}.npz"
        if not file.exists():
            raise CheckpointError(f"{self.path} has no evaluation {name!r}; make it with 'fuserec evaluate'")
        try:
            values = {key: torch.from_numpy(array) for key, array in read_arrays(file).items()}
        except DataError as error:
            raise CheckpointError(str(error)) from error
        summary = self.metrics.get(name)
        if summary is None or "users" not in values:
            raise CheckpointError(
                f"expected the evaluation {name!r} in {self.path}, but it is not whole; make it again"
            )
        users = values.pop("users")
        protocol = EvaluationProtocol.from_dict(summary["protocol"])
        if summary["protocol_hash"] != protocol.hash:
            raise ProtocolError(
                f"expected the evaluation {name!r} in {self.path} to carry the hash {protocol.hash[:12]} of its "
                f"protocol, got {summary['protocol_hash'][:12]}; this fuserec measures otherwise, so evaluate again"
            )
        return Evaluation(protocol=protocol, users=users, values=values)

    @property
    def diagnostics(self) -> dict[int, dict[str, float]]:
        """What the model told of its stages, by the epoch that ended them; runs of older versions told nothing.

        Raises:
            CheckpointError: the log is missing or broken.
        """
        told = {record["epoch"]: record.get("diagnostics", {}) for record in self.log}
        return {epoch: values for epoch, values in told.items() if values}

    @property
    def log(self) -> list[dict[str, Any]]:
        """One record an epoch; empty for a closed form.

        Raises:
            CheckpointError: the file is missing or broken.
        """
        file = self.path / "log.jsonl"
        try:
            return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise CheckpointError(f"expected a JSON record a line in {file}, got: {error}") from error


def read_scorer(file: Path) -> Scorer:
    """A scorer that `save_scorer` wrote.

    Raises:
        CheckpointError: the file is missing or broken.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            kind = (opened.metadata() or {}).get("kind", "")
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"expected a scorer in {file}, got: {error}") from error
    if kind not in SCORERS:
        raise CheckpointError(f"{file} holds a scorer of unknown kind {kind!r}; {nearest(kind, SCORERS)}")
    try:
        return SCORERS[kind].from_tensors(tensors)
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"expected the tensors of a {kind} scorer in {file}, got {sorted(tensors)}; train again"
        ) from error
    except (ValueError, RuntimeError, IndexError) as error:
        reason = " ".join(str(error).split())  # torch tells of weights in several lines
        raise CheckpointError(
            f"expected the tensors of a {kind} scorer in {file}, but they do not fit together: {reason}; train again"
        ) from error


def is_added_file(name: str) -> bool:
    """Whether a file in the folder `ADDED` has one of the names that are given there."""
    return name == "manifest.json" or name.startswith(("items-", "features-", "scorer-"))


def _read_table(path: Path, *, required: Sequence[str] = ()) -> Mapping[str, Any]:
    table = read_json(path)
    if not isinstance(table, Mapping):
        raise DataError(f"expected a JSON object in {path}, got {table!r:.40}")
    for key in required:
        if key not in table:
            raise DataError(f"expected {key} in {path}, got none")
    return table


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as safetensors, beside the place and renamed."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(whole, metadata=dict(metadata or {})))


def save_scorer(path: Path, scorer: Scorer) -> None:
    """Write a scorer with its kind, so that `Run.scorer` finds its class again."""
    save_tensors(path, scorer.tensors(), {"kind": scorer.kind})
