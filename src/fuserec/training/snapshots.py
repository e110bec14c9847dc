"""Where training stands, kept so that it survives the process (docs/decisions/0005-resume.md).

The state is one safetensors file: tensors, and in its header JSON under ``state``::

    format    1
    origin    recipe_hash, seed, dataset_hash, split_hash: whose state it is
    machine   what decides the last bits: versions, threads, processor, allocator, commit
    log, best (epoch, value, kind of scorer), waited, seconds
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from fuserec.errors import CheckpointError
from fuserec.models.registry import SCORERS
from fuserec.training.checkpoint import save_tensors
from fuserec.training.state import Best, EpochRecord, Moving, Standing, under

__all__ = ["Snapshots", "saved_epoch"]

FORMAT = 1

_LOG = logging.getLogger(__name__)


class Snapshots:
    """Keeps the end of the last epoch in memory, and on disk at most every so many seconds.

    Args:
        path: the file.
        origin: whose state it is; the state of another origin is refused.
        machine: what decides the last bits; where it has changed, a resumed training tells so.
        every: seconds between two writes, at least.
    """

    def __init__(
        self, path: Path, *, origin: Mapping[str, Any], machine: Mapping[str, Any], every: float = 30.0
    ) -> None:
        self.path = path
        self._origin, self._machine, self._every = dict(origin), dict(machine), every
        self._begun = self._written = time.monotonic()
        self._earlier = 0.0
        self._unwritten: tuple[dict[str, Tensor], Standing, float] | None = None

    @property
    def seconds(self) -> float:
        """Wall time of this training, with that of the interrupted parts up to where they were taken up."""
        return self._earlier + time.monotonic() - self._begun

    @property
    def epoch(self) -> int | None:
        """The last epoch on disk; None where there is no state."""
        return saved_epoch(self.path)

    def require_same_origin(self) -> None:
        """Refuse the state of another training, and tell where the machine is not what it was.

        Raises:
            CheckpointError: the state is of another recipe, seed or dataset, or cannot be read.
        """
        about = _about(self.path)
        for key, mine in self._origin.items():
            if (theirs := about["origin"].get(key)) != mine:
                raise CheckpointError(
                    f"expected the interrupted run of {key} {mine!s:.12} in {self.path.parent}, got that of "
                    f"{theirs!s:.12}; give the recipe, data and seed it was begun with, or start again with "
                    "--overwrite and without --resume"
                )
        changed = [
            f"{key} {about['machine'].get(key)} is now {now}"
            for key, now in self._machine.items()
            if about["machine"].get(key) != now
        ]
        if changed:
            _LOG.warning(
                "resuming under other conditions: %s; the outcome may differ from that of an uninterrupted run",
                ", ".join(changed),
            )

    def resume(self, moving: Moving) -> Standing:
        """Put back what is on disk; without a file nothing changes and training stands at its beginning.

        Raises:
            CheckpointError: the state cannot be read.
        """
        if not self.path.exists():
            return Standing()
        about = _about(self.path)
        with safe_open(self.path, framework="pt") as file:
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        moving.put_back(tensors)
        self._earlier = about["seconds"]
        best = about["best"]
        return Standing(
            log=tuple(EpochRecord(**record) for record in about["log"]),
            best=best
            and Best(
                epoch=best["epoch"],
                value=best["value"],
                scorer=SCORERS[best["kind"]].from_tensors(under("best.scorer.", tensors)),
                weights=under("best.weights.", tensors),
            ),
            waited=about["waited"],
        )

    def keep(self, moving: Moving, standing: Standing) -> None:
        """An epoch has ended."""
        self._unwritten = moving.capture(), standing, self.seconds
        if time.monotonic() - self._written >= self._every:
            self.write()

    def write(self) -> None:
        """Put what is in memory on the disk; the state before stays until the new one is whole.

        A disk that refuses does not end the training: it is told, and tried again later.
        """
        if self._unwritten is None:
            return
        tensors, standing, seconds = self._unwritten
        best = standing.best
        about = {
            "format": FORMAT,
            "origin": self._origin,
            "machine": self._machine,
            "log": [dataclasses.asdict(record) for record in standing.log],
            "best": best and {"epoch": best.epoch, "value": best.value, "kind": best.scorer.kind},
            "waited": standing.waited,
            "seconds": seconds,
        }
        if best is not None:
            tensors |= {f"best.weights.{name}": tensor for name, tensor in best.weights.items()}
            tensors |= {f"best.scorer.{name}": tensor for name, tensor in best.scorer.tensors().items()}
        self._written = time.monotonic()
        try:
            save_tensors(self.path, tensors, {"state": json.dumps(about)})
        except OSError as error:
            _LOG.warning("could not save the state of training: %s; it goes on", error.strerror or error)
            return
        self._unwritten = None


def saved_epoch(path: Path) -> int | None:
    """The epoch of the state in a file; None where there is no file.

    Raises:
        CheckpointError: the state cannot be read.
    """
    return len(_about(path)["log"]) if path.exists() else None


def _about(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("state", "null"))
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"expected the state of an interrupted run in {path}, got: {error}; start again with --overwrite"
        ) from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise CheckpointError(
            f"expected a state of format {FORMAT} in {path}, got something else; start again with --overwrite"
        )
    return about
