"""`fuserec features`: the content of a dataset becomes features in it; what is there already is taken over.

Shape legend
    I  items   N  distinct inputs   W  width of an encoder's row   D  width of the features
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fuserec.content.projection import fit_projection
from fuserec.data.dataset import Dataset
from fuserec.data.schema import EncoderEntry, ModalityEntry
from fuserec.data.write import FEATURES_AT_WORK
from fuserec.errors import DataError
from fuserec.features.inputs import Inputs
from fuserec.features.rows import known_rows, rows_of_items
from fuserec.features.store import Made, Told, publish, read_told, tidy
from fuserec.features.tasks import Asked, Task, encoder_entry, tasks_of
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
        taken: items that needed no encoding: their row was there already, or is that of an equal input.
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
    for folder in (work.parent, work):
        # What is written and removed in them would be so elsewhere.
        if folder.is_symlink():
            raise DataError(
                f"expected a folder of the dataset, but {folder} is a link; put the folder itself there"
            )
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
        _clear(work)
    lines, told, made = [], {}, {}
    for task in tasks:
        begun = time.monotonic()
        inputs = task.read()
        given = sum(value is not None for value in inputs.values)
        features, encoded, more = None, 0, list(inputs.notes)
        entry = _entry(dataset, task)
        if entry is None or fresh or not _is_current(dataset, task, entry, inputs):
            if not given and not task.found:
                raise DataError(_nothing(task, inputs.told))
            if not given:
                notes.append(f"{task.modality}: no item has any; left out")
                continue
            takes_over = entry is not None and not fresh
            features, encoded, of_all = _make(
                dataset, task, inputs, work / task.modality, takes_over=takes_over, progress=progress
            )
            if entry is not None and entry.versions != features.encoder.versions and encoded < given:
                more.append(
                    f"rows of {_words(entry.versions)} stand beside new ones of {_words(features.encoder.versions)}; "
                    "--fresh encodes all anew"
                )
            if not features.present.any():
                raise DataError(_nothing(task, features.told))
            made[task.modality], entry = features, features.encoder
            more += of_all
            if dataset.manifest.modalities.get(task.modality, ModalityEntry()).graph:
                more.append(
                    "the ready graph stays, and models take its neighbours rather than those by these features"
                )
        notes += [f"{task.modality}: {note}" for note in more]
        told[task.modality] = features.told if features else read_told(dataset, task.modality)
        present = features.present if features else dataset.feature_array(task.modality, "present")
        lines.append(
            Line(
                modality=task.modality,
                encoder=entry.name,
                items=dataset.num_items,
                present=int(present.sum()),
                encoded=encoded,
                taken=given - encoded,
                seconds=time.monotonic() - begun,
                problems=entry.problems,
                changed=features is not None,
            )
        )
    if not lines:
        raise DataError(f"expected something to encode in {dataset.path}, found none: " + "; ".join(notes))
    if made:
        dataset = publish(dataset, made)
    else:
        tidy(dataset)
    _clear(work)
    return Outcome(dataset=dataset, lines=lines, told=told, notes=notes)


def _entry(dataset: Dataset, task: Task) -> EncoderEntry | None:
    """What the dataset says of its features where they were made as the task would make them."""
    entry = encoder_entry(dataset, task.modality)
    return entry if entry is not None and entry.options == dict(task.options) else None


def _is_current(dataset: Dataset, task: Task, entry: EncoderEntry, inputs: Inputs) -> bool:
    """Whether the dataset has just these features already, and the same to tell of where the inputs were looked for."""
    before = [one for one in read_told(dataset, task.modality) if not one.input]
    return entry.inputs == inputs.hash and (task.whole is not None or before == list(inputs.told))


def _make(
    dataset: Dataset, task: Task, inputs: Inputs, place: Path, *, takes_over: bool, progress: Progress
) -> tuple[Made, int, Sequence[str]]:
    """Features of one modality, how many inputs were encoded for them, and what to say of all items."""
    if task.whole is not None:
        whole = task.whole(inputs)
        made = _described(task, inputs, whole.rows, whole.present, {}, [*inputs.told, *whole.told])
        return made, sum(value is not None for value in inputs.values), whole.notes
    assert task.encoder is not None
    what = f"{task.modality}: {task.name}"
    known = known_rows(dataset, task.modality, width=task.encoder.width) if takes_over else None
    found = rows_of_items(
        dataset.item_ids, inputs, task.encoder, known, what=what, place=place, progress=progress
    )
    # So that it is read when it comes back.
    inputs = inputs.without(found.vanished)
    rows = found.rows
    parts: dict[str, NDArray[Any]] = {"inputs": inputs.hashes}
    if task.projected:
        parts["raw"] = found.rows
        rows = fit_projection(found.rows, found.present).apply(found.rows, found.present)
    # Where all pictures are alike, nothing is left of them.
    present = found.present & rows.any(axis=1)
    return _described(task, inputs, rows, present, parts, found.told), found.encoded, ()


def _described(
    task: Task,
    inputs: Inputs,
    rows: NDArray[np.float32],
    present: NDArray[np.bool_],
    parts: Mapping[str, NDArray[Any]],
    told: Sequence[Told],
) -> Made:
    encoder = EncoderEntry(
        name=task.name,
        options=dict(task.options),
        inputs=inputs.hash,
        problems=dict(sorted(Counter(one.kind for one in told).items())),
        versions={package: version(package) for package in task.packages},
    )
    return Made(rows=rows, present=present, encoder=encoder, parts=parts, told=told)


def _nothing(task: Task, told: Sequence[Told]) -> str:
    some = "; ".join(dict.fromkeys(f"{one.kind}: {one.message}" for one in told[:3]))
    return (
        f"expected at least one item with {task.modality} to encode, found none"
        + (some and f" ({some})")
        + "; --only names the modalities to make"
    )


def _words(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{package} {number}" for package, number in versions.items())


def _clear(work: Path) -> None:
    """Remove what finished batches stand there."""
    for place in work.iterdir():
        if place.is_dir():
            shutil.rmtree(place)
