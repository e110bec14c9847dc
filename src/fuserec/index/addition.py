"""New items for a run that has ended: read, placed by their content, kept.

Every addition places all items that were added so far once more, from their features, which are kept. So two
additions come to what one of both comes to.

Shape legend
    N  added items
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from fuserec.batch import Modality
from fuserec.data.dataset import Dataset
from fuserec.data.numbered import numbered
from fuserec.data.report import count
from fuserec.data.schema import Finding
from fuserec.data.stacked import stacked
from fuserec.errors import CheckpointError, DataError
from fuserec.index.added import Added, write_added
from fuserec.index.extension import NewRows, extended_scorer, placed, require_content, used_modalities
from fuserec.index.new_catalogue import NewItems, read_new_items, ready_rows
from fuserec.training.checkpoint import ADDED, Run
from fuserec.training.lock import exclusive
from fuserec.training.progress import Progress, Silent

__all__ = ["Addition", "Encode", "add_items"]

Encode = Callable[[pl.DataFrame], Mapping[str, NewRows]]
"""Features by modality of items with ``item_id`` and content, made as those of the dataset were made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """What became of a catalogue of new items.

    Attributes:
        items: their ids, in the order of the file.
        with_content: how many of them have each modality that the model looks at.
        unplaced: ids of those of which the model says nothing: they are recommended to nobody.
        total: items added to the run so far.
        findings: what was noticed.
        seconds: it took.
    """

    items: Sequence[Any]
    with_content: Mapping[str, int]
    unplaced: Sequence[Any]
    total: int
    findings: Sequence[Finding]
    seconds: float


def add_items(
    run: Run,
    dataset: Dataset,
    file: Path,
    *,
    columns: Mapping[str, str] | None = None,
    features: Mapping[str, Path] | None = None,
    encode: Encode | None = None,
    progress: Progress | None = None,
) -> Addition:
    """Let a run know new items by what they are; nothing is trained.

    Args:
        run: gets the items.
        dataset: what it was trained on; nothing in its folder changes.
        file: a catalogue of new items. Items that are there already stay as they are.
        columns: columns of the file by role, where they are called otherwise than those of the dataset's items.
        features: ready vectors by modality, in place of what ``encode`` makes; see `ready_rows`.
        encode: makes features of the new items; None makes none.
        progress: who watches.

    Raises:
        ConfigError: the run's model knows items by their events only, a modality is unknown, or another process
            changes the run.
        DataError: the file or a value in it cannot be used, nothing in it is new or has content, or the run's folder
            cannot be written.
        CheckpointError: the run was trained on another dataset, or what was added to it before is damaged.
    """
    begun = time.monotonic()
    require_content(run.recipe)
    if dataset.manifest_hash != run.provenance["dataset_hash"]:
        raise CheckpointError(
            f"expected {dataset.path} as it was when {run.path} was trained on it, but it is another dataset or has got "
            "other features since; train again, or give the right dataset"
        )
    place = run.path.resolve()
    try:
        # The lock of training, which must not replace the run meanwhile.
        with exclusive(place.parent / f".{place.name}.lock", task=f"change {run.path}"):
            addition = _add(run, dataset, Path(file), columns, features or {}, encode, progress or Silent())
    except OSError as error:
        raise DataError(f"could not write {run.path / ADDED}: {error.strerror or error}") from error
    return replace(addition, seconds=time.monotonic() - begun)


def _add(
    run: Run,
    dataset: Dataset,
    file: Path,
    columns: Mapping[str, str] | None,
    ready: Mapping[str, Path],
    encode: Encode | None,
    progress: Progress,
) -> Addition:
    before = Added.open(run)
    known = dataset.items.drop("row")
    if before is not None:
        known = stacked(known, before.items.drop("row"), before.path)
    new = read_new_items(file, dataset, known, columns=columns)
    rows, told = ready_rows(dataset, new, ready)
    if encode is not None:
        rows = {**encode(new.frame), **rows}
    corpus = dataset.prepare(run.recipe.split).corpus
    used = used_modalities(run.recipe, corpus)
    features = _of_all(corpus.modalities, before, rows, new.frame.height)
    items = numbered(stacked(known, new.frame, file)[dataset.num_items :], first=dataset.num_items)
    progress.note(f"placing {count(items.height, 'item')} among {dataset.num_items:,}")
    scorer = extended_scorer(run.recipe, run.scorer(), run.weights(), corpus, features, count=items.height)
    is_placed = pl.Series(placed(scorer, dataset.num_items)[-new.frame.height :].numpy())
    addition = Addition(
        items=new.frame["item_id"].to_list(),
        with_content={each.name: _number_present(rows.get(each.name)) for each in used},
        unplaced=new.frame["item_id"].filter(~is_placed).to_list(),
        total=items.height,
        findings=(*new.findings, *told, *_without_features(used)),
        seconds=0.0,
    )
    if not is_placed.any():
        reasons = "".join(f"; {finding.message}" for finding in addition.findings)
        raise DataError(
            f"expected content of the items of {file} by which {run.path} can place them "
            f"({', '.join(addition.with_content)}), found none{reasons}; give their texts, pictures or --features"
        )
    about = _about(dataset, before, new, features, ready)
    write_added(run, about, items=items, features=features, scorer=scorer)
    return addition


def _of_all(
    modalities: Sequence[Modality], before: Added | None, rows: Mapping[str, NewRows], number: int
) -> dict[str, NewRows]:
    """Features of all added items, those of before first.

    Raises:
        DataError: features are not as wide as those of the dataset.
    """
    earlier = {} if before is None else before.features()
    whole = {}
    for modality in modalities:
        if modality.features is None:
            continue
        width = modality.features.shape[1]
        new = rows.get(modality.name) or NewRows.absent(number, width)
        if new.features.shape != (number, width):
            raise DataError(
                f"expected {number} rows of {width} {modality.name} features, got {tuple(new.features.shape)}; make them "
                "as those of the dataset were made"
            )
        known = earlier.get(modality.name)
        whole[modality.name] = new if known is None else known.followed_by(new)
    return whole


def _number_present(rows: NewRows | None) -> int:
    return 0 if rows is None else int(rows.present.sum())


def _without_features(used: Sequence[Modality]) -> list[Finding]:
    """The modalities by which no new item can be placed."""
    message = "{} places no new item: the dataset has a ready graph of it, and no features"
    return [
        Finding(kind="graph only", count=0, message=message.format(each.name))
        for each in used
        if each.features is None
    ]


def _about(
    dataset: Dataset,
    before: Added | None,
    new: NewItems,
    features: Mapping[str, NewRows],
    ready: Mapping[str, Path],
) -> dict[str, Any]:
    """What the manifest says of where the items and their features come from."""
    entries = dataset.manifest.model_dump(mode="json")["modalities"]
    return {
        "dataset_hash": dataset.manifest_hash,
        "columns": {**new.columns, **({} if before is None else before.manifest["columns"])},
        "modalities": {
            name: {"present": _number_present(rows), "as": entries[name]["features"]}
            for name, rows in features.items()
        },
        "additions": [
            *([] if before is None else before.manifest["additions"]),
            {
                "source": new.source.model_dump(mode="json"),
                "items": new.frame.height,
                "ready": {name: Path(file).name for name, file in ready.items()},
            },
        ],
    }
