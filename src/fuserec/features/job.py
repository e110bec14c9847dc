"""`fuserec features`: the content of a dataset becomes features in it; what is there already is taken over.

Shape legend
    I  items   N  distinct inputs   W  width of an encoder's row   D  width of the features
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fuserec.content.encoder import Encoder
from fuserec.content.projection import fit_projection
from fuserec.data.dataset import Dataset
from fuserec.data.schema import EncoderEntry
from fuserec.data.write import FEATURES_AT_WORK
from fuserec.errors import DataError
from fuserec.features.inputs import Inputs
from fuserec.features.store import Made, Told, publish, read_told
from fuserec.features.tasks import Asked, Task, tasks_of
from fuserec.features.work import encode_all
from fuserec.training.lock import exclusive
from fuserec.training.progress import Progress, Silent

__all__ = ["Line", "Outcome", "make_features"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What became of one modality.

    Attributes:
        modality: its name.
        encoder: its encoder's name.
        items: items of the catalogue.
        present: items that have features now.
        encoded: inputs encoded by this run.
        taken: items whose row was there already.
        seconds: of this run.
        problems: how many inputs had each kind of problem.
        changed: the dataset has other features now.
    """

    modality: str
    encoder: str
    items: int
    present: int
    encoded: int
    taken: int
    seconds: float
    problems: Mapping[str, int] = field(default_factory=dict)
    changed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What `make_features` did.

    Attributes:
        dataset: opened anew.
        lines: one a modality.
        told: what was noticed of single items, by modality.
        notes: what concerns no single item.
    """

    dataset: Dataset
    lines: Sequence[Line]
    told: Mapping[str, Sequence[Told]]
    notes: Sequence[str]


def make_features(dataset: Dataset, asked: Asked, *, progress: Progress | None = None) -> Outcome:
    """Make features of a dataset's content, in its folder.

    All modalities appear together at the end; what an interrupted run had finished is taken up by the next.

    Args:
        dataset: its folder is written to.
        asked: which modalities, and how.
        progress: who watches, one step an input.

    Raises:
        ConfigError: an option cannot be used, or another process makes features of this dataset.
        DataError: there is nothing to encode, or the folder cannot be written.
        MissingExtraError: an encoder needs a package that is not installed.
    """
    progress = progress or Silent()
    if dataset.manifest.shuffle_seed is not None:
        raise DataError(
            f"expected a dataset with the content of its own items, but {dataset.path} is shuffled "
            f"(seed {dataset.manifest.shuffle_seed}); make features in the one that it was made of"
        )
    tasks, notes = tasks_of(dataset, asked)
    work = dataset.path / FEATURES_AT_WORK
    try:
        work.mkdir(parents=True, exist_ok=True)
        with exclusive(work / "lock", task=f"make features in {dataset.path}"):
            return _run(dataset, tasks, work, notes, fresh=asked.fresh, progress=progress)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("what was encoded is kept") from error
    except OSError as error:
        raise DataError(f"cannot write in {dataset.path}: {error.strerror or error}") from error


def _run(
    dataset: Dataset, tasks: Sequence[Task], work: Path, notes: list[str], *, fresh: bool, progress: Progress
) -> Outcome:
    if fresh:
        for place in work.iterdir():
            if place.is_dir():
                shutil.rmtree(place)
    lines, told, made = [], {}, {}
    for task in tasks:
        begun = time.monotonic()
        inputs = task.read()
        notes += [f"{task.modality}: {note}" for note in inputs.notes]
        line, features, more = _make(
            dataset, task, inputs, work / task.modality, fresh=fresh, progress=progress
        )
        notes += [f"{task.modality}: {note}" for note in more]
        if features is not None:
            made[task.modality] = features
        told[task.modality] = features.told if features else read_told(dataset, task.modality)
        lines.append(line(time.monotonic() - begun))
    if made:
        dataset = publish(dataset, made)
    for place in work.iterdir():
        if place.is_dir():
            shutil.rmtree(place)
    return Outcome(dataset=dataset, lines=lines, told=told, notes=notes)


def _make(
    dataset: Dataset, task: Task, inputs: Inputs, place: Path, *, fresh: bool, progress: Progress
) -> tuple[Callable[[float], Line], Made | None, Sequence[str]]:
    """Features of one modality, or None where the dataset has just these; and what to say of all items."""
    entry = dataset.manifest.modalities.get(task.modality)
    old = entry.features.encoder if entry and entry.features else None
    same = old is not None and old.options == dict(task.options) and not fresh

    def line(made: Made | None, encoded: int, taken: int) -> Callable[[float], Line]:
        present = made.present if made else dataset.feature_array(task.modality, "present")
        encoder = made.encoder if made else old
        assert encoder is not None
        return lambda seconds: Line(
            modality=task.modality,
            encoder=encoder.name,
            items=dataset.num_items,
            present=int(present.sum()),
            encoded=encoded,
            taken=taken,
            seconds=seconds,
            problems=encoder.problems,
            changed=made is not None,
        )

    given = sum(value is not None for value in inputs.values)
    if same and old is not None and old.inputs == inputs.hash and _same_told(dataset, task, inputs):
        return line(None, 0, given), None, ()
    if not given:
        raise DataError(_nothing(task, inputs))
    if task.whole is not None:
        whole = task.whole(inputs)
        made = _described(task, inputs, whole.rows, whole.present, {}, [*inputs.told, *whole.told])
        return line(made, given, 0), made, whole.notes
    assert task.encoder is not None
    known = _known(dataset, task.modality) if same else None
    raw, present, told, encoded = _rows(dataset, task, task.encoder, inputs, known, place, progress)
    parts: dict[str, NDArray[Any]] = {"inputs": inputs.hashes}
    rows = raw
    if task.projected:
        parts["raw"] = raw
        rows = fit_projection(raw, present).apply(raw, present)
    made = _described(task, inputs, rows, present, parts, told)
    return line(made, encoded, given - encoded), made, ()


@dataclass(frozen=True, slots=True)
class _Known:
    """What the dataset has already: for each hash its row, and what was told of it."""

    row_of: Mapping[bytes, int]
    rows: NDArray[np.float32]
    present: NDArray[np.bool_]
    told: Mapping[str, list[Told]]


def _known(dataset: Dataset, modality: str) -> _Known | None:
    if not dataset.has_feature_array(modality, "inputs"):
        return None
    hashes = np.ascontiguousarray(dataset.feature_array(modality, "inputs"))
    part = "raw" if dataset.has_feature_array(modality, "raw") else ""
    told: dict[str, list[Told]] = {}
    for one in read_told(dataset, modality):
        if one.input:
            told.setdefault(one.input, []).append(one)
    return _Known(
        row_of={hashed: row for row, hashed in enumerate(_each(hashes)) if any(hashed)},
        rows=dataset.feature_array(modality, part),
        present=dataset.feature_array(modality, "present"),
        told=told,
    )


def _rows(
    dataset: Dataset,
    task: Task,
    encoder: Encoder,
    inputs: Inputs,
    known: _Known | None,
    place: Path,
    progress: Progress,
) -> tuple[NDArray[np.float32], NDArray[np.bool_], list[Told], int]:
    """(I, W) rows, (I,) presence, what was told, and how many inputs were encoded for it.

    Inputs of the same hash are encoded once.
    """
    hashes = list(_each(inputs.hashes))
    rows = np.zeros((len(hashes), encoder.width), dtype=np.float32)
    present = np.array([value is not None for value in inputs.values])
    new: dict[bytes, int] = {}
    for row in np.flatnonzero(present).tolist():
        hashed = hashes[row]
        if known is not None and hashed in known.row_of:
            before = known.row_of[hashed]
            rows[row], present[row] = known.rows[before], known.present[before]
        else:
            new.setdefault(hashed, row)
    told_of: dict[str, list[tuple[str, str, bool]]] = {}
    if known is not None:
        for hashed_hex, before_told in known.told.items():
            told_of[hashed_hex] = [(one.kind, one.message, one.lost) for one in before_told]
    if new:
        first = list(new.values())
        progress.start(len(first), f"{task.modality}: {encoder.name}")
        encoded = encode_all(
            encoder,
            [inputs.values[row] for row in first],
            [hashed.hex() for hashed in new],
            place,
            progress=progress,
        )
        progress.done()
        position = {hashed: index for index, hashed in enumerate(new)}
        lost = {problem.position for problem in encoded.problems if problem.lost}
        for row, hashed in enumerate(hashes):
            index = position.get(hashed)
            if index is not None and inputs.values[row] is not None:
                rows[row], present[row] = encoded.rows[index], index not in lost
        names = list(new)
        for problem in encoded.problems:
            told_of.setdefault(names[problem.position].hex(), []).append(
                (problem.kind, problem.message, problem.lost)
            )
    ids = dataset.item_ids.cast(pl.String)
    told = list(inputs.told)
    for row, value in enumerate(inputs.values):
        if value is not None:
            told += [
                Told(
                    item_id=ids[row],
                    source=inputs.sources[row],
                    kind=kind,
                    message=message,
                    lost=is_lost,
                    input=hashes[row].hex(),
                )
                for kind, message, is_lost in dict.fromkeys(told_of.get(hashes[row].hex(), ()))
            ]
    return rows, present, told, len(new)


def _described(
    task: Task,
    inputs: Inputs,
    rows: NDArray[np.float32],
    present: NDArray[np.bool_],
    parts: Mapping[str, NDArray[Any]],
    told: Sequence[Told],
) -> Made:
    kinds: dict[str, int] = {}
    for one in told:
        kinds[one.kind] = kinds.get(one.kind, 0) + 1
    encoder = EncoderEntry(
        name=task.name, options=dict(task.options), inputs=inputs.hash, problems=dict(sorted(kinds.items()))
    )
    return Made(rows=rows, present=present, encoder=encoder, parts=parts, told=told)


def _same_told(dataset: Dataset, task: Task, inputs: Inputs) -> bool:
    """Whether what was noticed in looking for the inputs is what was noticed before."""
    return [one for one in read_told(dataset, task.modality) if not one.input] == list(inputs.told)


def _nothing(task: Task, inputs: Inputs) -> str:
    some = "; ".join(dict.fromkeys(f"{one.kind}: {one.message}" for one in inputs.told[:3]))
    return f"expected at least one item with {task.modality} to encode, found none" + (some and f" ({some})")


def _each(hashes: NDArray[np.uint8]) -> Iterator[bytes]:
    width = hashes.shape[1]
    whole = np.ascontiguousarray(hashes).tobytes()
    return (whole[start : start + width] for start in range(0, len(whole), width))
