"""Which features to make of a dataset, and with what: one task a modality.

Shape legend
    I  items   D  width of the features
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fuserec.content.categories import MOST_CATEGORIES, category_features
from fuserec.content.encoder import Encoder
from fuserec.content.numbers import number_features, parse_numbers
from fuserec.content.pictures.descriptor import Descriptor
from fuserec.data.dataset import Dataset
from fuserec.data.features import read_features
from fuserec.data.schema import EncoderEntry, check_name
from fuserec.errors import ConfigError, DataError, nearest
from fuserec.features.encoders import (
    CLASSICAL,
    DEFAULT_TEXT,
    is_projected,
    model_of,
    options_of,
    picture_encoder,
    text_encoder,
)
from fuserec.features.inputs import (
    Inputs,
    category_inputs,
    picture_inputs,
    text_inputs,
    told_of,
    value_inputs,
    vector_inputs,
)
from fuserec.features.store import Told

__all__ = ["Asked", "Task", "Whole", "encoder_entry", "tasks_of"]

_TEXTS = ("title", "text")
"""Columns of texts, a modality each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """Features that depend on all inputs together.

    Attributes:
        rows: (I, D) float32, zero where absent.
        present: (I,).
        told: what was noticed of single items.
        notes: what concerns no single item.
    """

    rows: NDArray[np.float32]
    present: NDArray[np.bool_]
    told: Sequence[Told] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What features are wanted.

    Attributes:
        text: encoder of titles and texts: a built-in name, a folder, or an id of the Hugging Face Hub; None takes the
            one that made those of the dataset, or `DEFAULT_TEXT`.
        image: encoder of pictures: ``classical``, a folder, or an id; None takes the one that made those of the dataset,
            or ``classical``.
        images: the folder of pictures; None leaves pictures alone.
        numbers: column of the items by modality.
        vectors: file of ready rows by modality.
        only: modalities to make; empty makes all that the dataset has.
        longest: most tokens of a text; None takes what made those of the dataset, or the model's own limit.
        device: where encoders compute.
        download: fetch models that are not on this machine.
        fresh: encode everything anew.
        overwrite: replace features that came ready.
    """

    text: str | None = None
    image: str | None = None
    images: Path | None = None
    numbers: Mapping[str, str] = field(default_factory=dict)
    vectors: Mapping[str, Path] = field(default_factory=dict)
    only: Sequence[str] = ()
    longest: int | None = None
    device: str = "cpu"
    download: bool = False
    fresh: bool = False
    overwrite: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One modality to make.

    Attributes:
        modality: its name.
        name: of what makes it, for people.
        options: all that decides its numbers.
        read: finds the inputs.
        encoder: makes rows of inputs; None where rows depend on all inputs together.
        whole: makes them then.
        projected: rows of the encoder are whitened over the catalogue.
        packages: whose versions move the last bits.
        found: nobody asked for it by name, so it may turn out that there is nothing to encode.
    """

    modality: str
    name: str
    options: Mapping[str, Any]
    read: Callable[[], Inputs]
    encoder: Encoder | None = None
    whole: Callable[[Inputs], Whole] | None = None
    projected: bool = False
    packages: Sequence[str] = ()
    found: bool = False


def tasks_of(dataset: Dataset, asked: Asked) -> tuple[list[Task], list[str]]:
    """The tasks in their order, and what should be said of what is left out.

    Raises:
        ConfigError: a name or a column is unknown, two modalities have one name, or ready features stand there.
        DataError: the dataset has no content that was asked for.
        MissingExtraError: an encoder needs a package that is not installed.
    """
    tasks = [*_texts(dataset, asked), *_pictures(dataset, asked), *_categories(dataset, asked)]
    tasks += [_number(dataset, name, column) for name, column in _numbers(dataset, asked).items()]
    tasks += [_vectors(dataset, name, Path(file)) for name, file in asked.vectors.items()]
    names = [task.modality for task in tasks]
    for name in (*asked.numbers, *asked.vectors):
        check_name(name, "modality")
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"expected every modality once, but {name!r} is made in two ways; name one otherwise"
            )
    for name in asked.only:
        if name not in names:
            known = [*names, *(text for text in _TEXTS if text in dataset.items.columns)]
            raise ConfigError(f"no {name!r} to make of {dataset.path}; {nearest(name, known)}{_hint(name)}")
    if asked.only:
        tasks = [task for task in tasks if task.modality in asked.only]
    if not tasks:
        raise DataError(
            f"expected items with titles, texts or categories in {dataset.path}, or --images, --number or --vectors; "
            "found none"
        )
    for task in tasks:
        _refuse_ready(dataset, task, overwrite=asked.overwrite)
    return tasks, _left_out(dataset, asked)


def encoder_entry(dataset: Dataset, modality: str) -> EncoderEntry | None:
    """How the dataset's features of a modality were made; None where there are none, or they came ready."""
    entry = dataset.manifest.modalities.get(modality)
    return entry.features.encoder if entry and entry.features else None


def _hint(name: str) -> str:
    return " (pass --images with the folder of the pictures)" if name == "image" else ""


def _refuse_ready(dataset: Dataset, task: Task, *, overwrite: bool) -> None:
    """Refuse to replace rows that somebody brought by rows that an encoder makes."""
    entry = dataset.manifest.modalities.get(task.modality)
    if entry is None or entry.features is None or overwrite:
        return
    made = entry.features.encoder
    if made is None or (made.options.get("kind") == "vectors" and task.options["kind"] != "vectors"):
        raise ConfigError(
            f"expected no ready features of the name {task.modality!r} in {dataset.path}, but it was given some; pass "
            "--overwrite to replace them, or --only to make others"
        )


def _left_out(dataset: Dataset, asked: Asked) -> list[str]:
    """What somebody might have expected and has to ask for."""
    wanted = not asked.only or "image" in asked.only
    if asked.images is None and "image" in dataset.items.columns and wanted:
        return ["the catalogue names pictures; pass --images FOLDER to have them encoded"]
    return []


def _texts(dataset: Dataset, asked: Asked) -> list[Task]:
    tasks: list[Task] = []
    for name in _TEXTS:
        if name not in dataset.items.columns or (asked.only and name not in asked.only):
            continue
        entry = encoder_entry(dataset, name)
        model, longest = asked.text, asked.longest
        if model is None:
            model = model_of(name, entry, default=DEFAULT_TEXT)
            longest = longest or (entry.options.get("longest") if entry else None)
        encoder: Encoder = text_encoder(model, longest=longest, device=asked.device, download=asked.download)
        # One for both where they are alike, so that its weights are loaded once.
        alike = [one.encoder for one in tasks if one.encoder and one.options == encoder.options]
        encoder = alike[0] if alike else encoder
        tasks.append(
            Task(
                modality=name,
                name=encoder.name,
                options=encoder.options,
                read=partial(text_inputs, dataset.items[name]),
                encoder=encoder,
                packages=("torch", "transformers"),
                found=name not in asked.only,
            )
        )
    return tasks


def _pictures(dataset: Dataset, asked: Asked) -> list[Task]:
    if asked.images is None or (asked.only and "image" not in asked.only):
        return []
    root = Path(asked.images)
    model = asked.image or model_of("image", encoder_entry(dataset, "image"), default=CLASSICAL)
    encoder = picture_encoder(model, device=asked.device, download=asked.download)
    named = dataset.items["image"] if "image" in dataset.items.columns else None
    return [
        Task(
            modality="image",
            name=encoder.name,
            options=options_of(encoder),
            read=lambda: picture_inputs(root, dataset.item_ids, named),
            encoder=encoder,
            projected=is_projected(encoder),
            packages=("pillow", "numpy")
            if isinstance(encoder, Descriptor)
            else ("pillow", "torch", "transformers"),
        )
    ]


def _categories(dataset: Dataset, asked: Asked) -> list[Task]:
    if "category" not in dataset.items.columns:
        return []

    def whole(inputs: Inputs) -> Whole:
        made = category_features([each or [] for each in inputs.values])
        told = told_of(made.problems, dataset.item_ids)
        return Whole(rows=made.rows, present=made.present, told=told, notes=made.told)

    return [
        Task(
            modality="category",
            name="categories, the rarer weighing more",
            options={"kind": "category", "version": 1, "most": MOST_CATEGORIES},
            read=lambda: category_inputs(dataset.items),
            whole=whole,
            found="category" not in asked.only,
        )
    ]


def _numbers(dataset: Dataset, asked: Asked) -> dict[str, str]:
    """Column by modality: those asked for, and those that the dataset has features of."""
    entries = {name: encoder_entry(dataset, name) for name in dataset.manifest.modalities}
    made = {
        name: entry.options["column"]
        for name, entry in entries.items()
        if entry
        and entry.options.get("kind") == "number"
        and entry.options.get("column") in dataset.items.columns
    }
    return {**made, **asked.numbers}


def _number(dataset: Dataset, name: str, column: str) -> Task:
    if column not in dataset.items.columns:
        raise ConfigError(
            f"expected the column {column!r} (--number) among the items of {dataset.path}; "
            f"{nearest(column, dataset.items.columns)}"
        )
    values = dataset.items[column]
    if not (values.dtype.is_numeric() or values.dtype in (pl.String, pl.Boolean, pl.Null)):
        raise ConfigError(f"expected numbers or text in the column {column!r} (--number), got {values.dtype}")

    def whole(inputs: Inputs) -> Whole:
        parsed = parse_numbers(inputs.values)
        made = number_features(parsed.values)
        told = told_of(parsed.problems, dataset.item_ids)
        return Whole(rows=made.rows, present=made.present, told=told, notes=parsed.told)

    return Task(
        modality=name,
        name=f"numbers of {column}",
        options={"kind": "number", "column": column, "version": 1},
        read=lambda: value_inputs(values.to_list()),
        whole=whole,
    )


def _vectors(dataset: Dataset, name: str, file: Path) -> Task:
    features = read_features(name, file, dataset.item_ids, ordered=True)

    def whole(_: Inputs) -> Whole:
        rows = np.concatenate([np.asarray(block, dtype=np.float32) for block in features.blocks()])
        return Whole(rows=rows, present=features.present)

    return Task(
        modality=name,
        name="ready rows",
        options={"kind": "vectors"},
        read=partial(vector_inputs, features),
        whole=whole,
    )
