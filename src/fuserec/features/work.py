"""Rows of many inputs, batch by batch, kept on the disk as they are made: a killed run goes on where it was.

Which inputs stand in one batch moves the last bits of a row, so the batches are decided once, from the inputs and the
encoder, and the folder of what is finished is named by a hash of both. Whoever resumes finds the same batches and
leaves out those that are there.

Shape legend
    N  inputs   W  width of a row
"""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fuserec.content.encoder import Encoded, Encoder, Problem
from fuserec.errors import DataError
from fuserec.files import hash_json, read_arrays, write_bytes
from fuserec.training.progress import Progress

__all__ = ["encode_all"]

_SAVE_EVERY = 5.0
"""Seconds of work that a kill may cost."""


def encode_all(
    encoder: Encoder, inputs: Sequence[Any], hashes: Sequence[str], place: Path, *, progress: Progress
) -> Encoded:
    """Encode all inputs; what a killed run has finished is taken from ``place``.

    Args:
        encoder: makes the rows.
        inputs: N.
        hashes: (N,) of the inputs.
        place: folder for what is finished; the caller removes it when the rows stand elsewhere.
        progress: who watches, one step an input.

    Returns:
        (N, W) rows, and the problems by position.
    """
    batches = encoder.batches(inputs)
    # With the batches, since another version of the encoder may lay them otherwise.
    plan = {
        "encoder": dict(encoder.options),
        "inputs": list(hashes),
        "batches": [b.tolist() for b in batches],
    }
    folder = place / hash_json(plan)[:16]
    if place.is_dir():
        for other in place.iterdir():
            if other.is_dir() and other != folder:
                shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.zeros((len(inputs), encoder.width), dtype=np.float32)
    problems: list[Problem] = []
    done = 0
    for count, part in _finished(folder, batches, encoder.width):
        positions = np.concatenate(batches[done : done + count])
        rows[positions] = part.rows
        problems += part.problems
        done += count
        progress.step(len(positions))
    waiting: list[Encoded] = []
    saved = time.monotonic()
    try:
        for batch in batches[done:]:
            encoded = encoder.encode([inputs[position] for position in batch])
            waiting.append(_placed(encoded, batch))
            rows[batch] = encoded.rows
            progress.step(len(batch))
            if time.monotonic() - saved >= _SAVE_EVERY:
                done = _save(folder, waiting, problems, done)
                saved = time.monotonic()
    finally:
        if waiting:
            _save(folder, waiting, problems, done)
    return Encoded(rows=rows, problems=tuple(sorted(problems, key=lambda one: one.position)))


def _placed(encoded: Encoded, batch: NDArray[np.int64]) -> Encoded:
    """The same with positions among all inputs."""
    problems = tuple(
        Problem(**{**asdict(one), "position": int(batch[one.position])}) for one in encoded.problems
    )
    return Encoded(rows=encoded.rows, problems=problems)


def _save(folder: Path, waiting: list[Encoded], problems: list[Problem], done: int) -> int:
    """Write the waiting batches behind those that are there; how many there are now."""
    new = [problem for encoded in waiting for problem in encoded.problems]
    buffer = io.BytesIO()
    np.savez(
        buffer,
        batches=np.array(len(waiting)),
        rows=np.concatenate([encoded.rows for encoded in waiting]),
        problems=np.frombuffer(json.dumps([asdict(one) for one in new]).encode(), dtype=np.uint8),
    )
    try:
        write_bytes(folder / f"{done:08d}.npz", buffer.getvalue())
    except OSError as error:
        raise DataError(f"could not keep what is encoded in {folder}: {error.strerror or error}") from error
    problems += new
    done += len(waiting)
    waiting.clear()
    return done


def _finished(
    folder: Path, batches: Sequence[NDArray[np.int64]], width: int
) -> Iterator[tuple[int, Encoded]]:
    """Numbers of batches and what came of them, in their order, up to a first gap; a damaged part is one."""
    done = 0
    while (path := folder / f"{done:08d}.npz").exists():
        try:
            part = read_arrays(path)
            count = int(part["batches"])
            problems = tuple(Problem(**one) for one in json.loads(bytes(part["problems"]).decode()))
        except (DataError, KeyError, TypeError, ValueError):
            return
        rows = part.get("rows")
        if not 0 < count <= len(batches) - done or rows is None:
            return
        if rows.shape != (sum(map(len, batches[done : done + count])), width):
            return
        yield count, Encoded(rows=rows, problems=problems)
        done += count
