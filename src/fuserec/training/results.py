"""What a run measured, small enough to commit, so that no finished run is lost.

``results/<experiment>/<first 12 of the recipe hash>-<seed>.json``::

    format          1
    experiment      name of the folder
    date            UTC, when it was written
    recipe          as resolved; recipe_hash names it without its label, seed and device
    seed            of all generators
    dataset_hash, split, split_hash
    commit          of the code, "+changes" after it where files differed
    machine         versions of python, torch, numpy and fuserec, processor, threads, device
    times           fit_seconds, evaluation_seconds, and epochs and epoch_seconds where there are any
    evaluations     name -> protocol, protocol_hash, users, metrics (means), histogram of a headline metric

A histogram counts users: those with exactly 0 apart, the others in ten bins from 0 to 1. No user, item or value
of a single user is in the file.

``results/test-ledger.jsonl`` gets a line whenever the test part is read, so that everybody can see how often it
was looked at before a number was published.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fuserec.errors import ConfigError, DataError, nearest
from fuserec.files import read_json, write_json
from fuserec.shapes import Float
from fuserec.training.config import Recipe
from fuserec.training.evaluate import Evaluation

__all__ = [
    "append_to_ledger",
    "find_result",
    "histogram",
    "read_ledger",
    "read_result",
    "result_path",
    "write_outcome",
    "write_result",
]

FORMAT = 1
LEDGER = "test-ledger.jsonl"
ORIGIN = ("commit", "machine", "dataset_hash", "split", "split_hash")
"""What is taken from a run's provenance; its dataset folder stays out, being a path of one machine."""


def result_path(results: Path, experiment: str, recipe: Recipe) -> Path:
    """Where the result of a recipe with its seed stands.

    Raises:
        ConfigError: ``experiment`` is no plain folder name.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", experiment):
        raise ConfigError(
            f"expected an experiment's name of letters, digits, '.', '_' and '-', got {experiment!r}"
        )
    return Path(results) / experiment / f"{recipe.hash[:12]}-{recipe.seed}.json"


def write_result(
    results: Path,
    experiment: str,
    recipe: Recipe,
    *,
    provenance: Mapping[str, Any],
    evaluations: Mapping[str, Evaluation],
    times: Mapping[str, float],
    headline: str,
    overwrite: bool = False,
) -> Path:
    """Write the result of a run; the format is in the module's docstring.

    Args:
        results: the folder of all results.
        experiment: name of a folder in it.
        recipe: as resolved.
        provenance: of the run, see `fuserec.training.provenance`.
        evaluations: by name, such as ``valid`` and ``test``.
        times: in seconds, but for ``epochs``.
        headline: the metric whose histogram is kept.
        overwrite: replace a result that stands there.

    Returns:
        The file written.

    Raises:
        DataError: there is a result already, or it cannot be written.
        ConfigError: ``headline`` was not measured, or ``experiment`` is no plain folder name.
    """
    path = result_path(results, experiment, recipe)
    if path.exists() and not overwrite:
        raise DataError(
            f"expected no result yet, but {path} exists; keep it, or pass overwrite to replace it"
        )
    measured = {
        "experiment": experiment,
        "times": dict(times),
        "evaluations": {name: _summary(evaluation, headline) for name, evaluation in evaluations.items()},
    }
    write_outcome(path, recipe, provenance=provenance, measured=measured)
    return path


def write_outcome(
    path: Path, recipe: Recipe, *, provenance: Mapping[str, Any], measured: Mapping[str, Any]
) -> None:
    """Write what was measured behind what it was measured on, by the keys in the module's docstring.

    Args:
        path: the file; its folder is made if missing.
        recipe: as resolved.
        provenance: of the run, see `fuserec.training.provenance`.
        measured: for JSON.

    Raises:
        DataError: it cannot be written.
    """
    content = {
        "format": FORMAT,
        "date": _now(),
        "recipe": recipe.to_dict(),
        "recipe_hash": recipe.hash,
        "seed": recipe.seed,
        **{key: provenance[key] for key in ORIGIN},
        **measured,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, content)
    except OSError as error:
        raise DataError(f"could not write {path}: {error.strerror or error}") from error


def read_result(path: Path) -> dict[str, Any]:
    """Read what `write_result` wrote.

    Raises:
        DataError: the file is missing, broken, or of another format.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"expected a result of format {FORMAT} in {path}, got something else")
    return content


def find_result(
    results: Path, experiment: str, recipe: Recipe, *, dataset_hash: str, split_hash: str
) -> dict[str, Any] | None:
    """The result of a recipe with its seed, or None if it is still to be made.

    Args:
        results: the folder of all results.
        experiment: name of a folder in it.
        recipe: as resolved.
        dataset_hash: of the dataset; two that hold the same pairs may differ in content.
        split_hash: of the training, validation and test pairs.

    Raises:
        DataError: there is one that was measured on other data, or it cannot be read.
    """
    path = result_path(results, experiment, recipe)
    if not path.exists():
        return None
    content = read_result(path)
    for what, asked in (("split", split_hash), ("dataset", dataset_hash)):
        found = content[f"{what}_hash"]
        if found != asked:
            raise DataError(
                f"{path} was measured on {what} {found[:12]}, not on {asked[:12]}; "
                "give the experiment on this data another name"
            )
    return content


def histogram(values: Float[Tensor, " N"]) -> dict[str, Any]:
    """How many users have 0, and how many of the others fall into each tenth up to 1.

    Example:
        >>> import torch
        >>> histogram(torch.tensor([0.0, 0.0, 0.05, 1.0]))
        {'zero': 2, 'tenths': [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]}
    """
    array = values.numpy()
    # The mean over orders of a tie may exceed 1 by a rounding error.
    tenths, _ = np.histogram(np.clip(array[array > 0], 0, 1), bins=10, range=(0, 1))
    return {"zero": int((array == 0).sum()), "tenths": tenths.tolist()}


def append_to_ledger(
    results: Path,
    evaluation: Evaluation,
    *,
    commit: str,
    recipe_hash: str,
    seed: int,
    note: str | None = None,
) -> None:
    """Note that the test part was read: one line, flushed to the disk before this returns.

    Args:
        results: the folder of all results; made if missing.
        evaluation: what was read; of the test part.
        commit: of the code.
        recipe_hash: of the recipe.
        seed: of the run.
        note: what sets this reading apart from one of the run for all users of the test part.

    Raises:
        ConfigError: the evaluation is not of the test part.
        DataError: the line cannot be written.
    """
    if evaluation.protocol.part != "test":
        raise ConfigError(f"expected an evaluation of the test part, got one of {evaluation.protocol.part}")
    line = json.dumps(
        {
            "date": _now(),
            "commit": commit,
            "recipe_hash": recipe_hash,
            "seed": seed,
            "split_hash": evaluation.protocol.split_hash,
            "protocol": evaluation.protocol.name,
            "protocol_hash": evaluation.protocol.hash,
            "values": evaluation.means(),
            **({"note": note} if note else {}),
        },
        allow_nan=False,
    )
    path = Path(results) / LEDGER
    content = (line + "\n").encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Appending in one write keeps lines whole when several runs end at once.
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            written = os.write(handle, content)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise DataError(f"could not append to {path}: {error.strerror or error}") from error
    if written != len(content):
        raise DataError(
            f"could not append to {path}: only {written} of {len(content)} bytes fitted on the disk"
        )


def read_ledger(results: Path) -> list[dict[str, Any]]:
    """All readings of the test part, oldest first; none if there is no ledger.

    Raises:
        DataError: a line is not JSON.
    """
    path = Path(results) / LEDGER
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    readings = []
    for number, line in enumerate(lines, start=1):
        try:
            readings.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: expected JSON, got: {error}; repair the line") from error
    return readings


def _summary(evaluation: Evaluation, headline: str) -> dict[str, Any]:
    if headline not in evaluation.values:
        raise ConfigError(
            f"expected a headline metric that was measured, got {headline!r}; "
            f"{nearest(headline, evaluation.values)}"
        )
    counts = histogram(evaluation.values[headline])
    return {**evaluation.summary(), "histogram": {"metric": headline, **counts}}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
