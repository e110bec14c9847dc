"""Items that are not in the dataset, encoded as its own were.

What was fitted to the catalogue (whitening, vocabulary, quantiles) is fitted again to the dataset's own items, which
gives what it gave then, and applied to the new ones.

Shape legend
    N  new items   D  width of the features   W  width before a projection
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fuserec.content.categories import category_features, encode_categories
from fuserec.content.encoder import Encoder
from fuserec.content.numbers import encode_numbers, number_features, parse_numbers
from fuserec.content.projection import fit_projection
from fuserec.data.categories import categories_of
from fuserec.data.dataset import Dataset
from fuserec.data.schema import EncoderEntry
from fuserec.errors import ConfigError, DataError
from fuserec.features.encoders import (
    CLASSICAL,
    DEFAULT_TEXT,
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
)
from fuserec.features.rows import rows_of_items
from fuserec.features.store import Told
from fuserec.training.progress import Progress, Silent

__all__ = ["NewFeatures", "encode_items"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFeatures:
    """Features of new items.

    Attributes:
        rows: (N, D) float32 by modality, zero where absent.
        present: (N,) by modality.
        told: what was noticed of single items, by modality.
        notes: what concerns no single item.
    """

    rows: Mapping[str, NDArray[np.float32]]
    present: Mapping[str, NDArray[np.bool_]]
    told: Mapping[str, Sequence[Told]]
    notes: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """The same of one modality."""

    rows: NDArray[np.float32]
    present: NDArray[np.bool_]
    told: Sequence[Told] = ()
    notes: Sequence[str] = ()


def encode_items(
    dataset: Dataset,
    items: pl.DataFrame,
    *,
    images: Path | None = None,
    text: str | None = None,
    image: str | None = None,
    progress: Progress | None = None,
) -> NewFeatures:
    """Encode new items by the encoders of a dataset's features. Modalities that came ready are passed over.

    Args:
        dataset: whose features were made by `fuserec.features.job.make_features`.
        items: N rows with ``item_id``, and ``title``, ``text``, ``image``, ``category`` and other columns where there are.
        images: the folder of their pictures; None leaves them without.
        text: the text encoder, where the dataset's came from a folder; None finds it by its name.
        image: the same for pictures.
        progress: who watches.

    Raises:
        ConfigError: an encoder is not on this machine, or is another one than the dataset's.
        DataError: the dataset's features are older than its catalogue, or the folder of pictures cannot be read.
        MissingExtraError: an encoder needs a package that is not installed.
    """
    progress = progress or Silent()
    parts: dict[str, _Part] = {}
    for name, modality in dataset.manifest.modalities.items():
        entry = modality.features.encoder if modality.features else None
        kind = entry.options.get("kind") if entry else None
        if entry is None or kind not in ("text", "image", "descriptor", "category", "number"):
            continue
        if kind == "category":
            parts[name] = _categories(dataset, name, entry, items)
        elif kind == "number":
            parts[name] = _numbers(dataset, name, entry, items)
        elif kind == "text":
            inputs = text_inputs(_column(items, name))
            if any(value is not None for value in inputs.values):
                model = text or model_of(name, entry, default=DEFAULT_TEXT)
                longest = entry.options["longest"]
                encoder: Encoder = text_encoder(model, longest=longest, device="cpu", download=False)
                parts[name] = _encoded(dataset, name, entry, encoder, inputs, items, progress)
        elif images is not None:
            named = items["image"] if "image" in items.columns else None
            inputs = picture_inputs(images, items["item_id"], named)
            model = image or model_of(name, entry, default=CLASSICAL)
            encoder = picture_encoder(model, device="cpu", download=False)
            parts[name] = _encoded(dataset, name, entry, encoder, inputs, items, progress)
    return NewFeatures(
        rows={name: part.rows for name, part in parts.items()},
        present={name: part.present for name, part in parts.items()},
        told={name: part.told for name, part in parts.items()},
        notes=[f"{name}: {note}" for name, part in parts.items() for note in part.notes],
    )


def _column(items: pl.DataFrame, name: str) -> pl.Series:
    """A column, all missing where the new items lack it."""
    if name in items.columns:
        return items[name]
    return pl.Series(name, [None] * items.height, dtype=pl.String)


def _encoded(
    dataset: Dataset,
    name: str,
    entry: EncoderEntry,
    encoder: Encoder,
    inputs: Inputs,
    items: pl.DataFrame,
    progress: Progress,
) -> _Part:
    """Rows of an encoder, projected as those of the dataset are."""
    options = options_of(encoder)
    if dict(options) != entry.options:
        raise ConfigError(
            f"expected the encoder of the {name} features in {dataset.path} ({_words(entry.options)}), got "
            f"{_words(options)}; name the same one, or make the features and train again"
        )
    with tempfile.TemporaryDirectory(prefix="fuserec-") as place:
        what = f"{name}: {encoder.name}"
        found = rows_of_items(
            items["item_id"], inputs, encoder, None, what=what, place=Path(place), progress=progress
        )
    rows, present = found.rows, found.present
    if dataset.has_feature_array(name, "raw"):
        own = dataset.feature_array(name, "raw")
        rows = fit_projection(own, np.any(own, axis=1)).apply(rows, present)
        present &= rows.any(axis=1)
    return _Part(rows=rows, present=present, told=found.told, notes=inputs.notes)


def _categories(dataset: Dataset, name: str, entry: EncoderEntry, items: pl.DataFrame) -> _Part:
    _require_same(dataset, name, entry, category_inputs(dataset.items))
    vocabulary = category_features(categories_of(dataset.items).to_list()).vocabulary
    lists = categories_of(_column(items, "category").alias("category").to_frame()).to_list()
    made = encode_categories(lists, vocabulary)
    return _Part(rows=made.rows, present=made.present, told=told_of(made.problems, items["item_id"]))


def _numbers(dataset: Dataset, name: str, entry: EncoderEntry, items: pl.DataFrame) -> _Part:
    own = value_inputs(dataset.items[entry.options["column"]].to_list())
    _require_same(dataset, name, entry, own)
    known = parse_numbers(own.values)
    parsed = parse_numbers(_column(items, entry.options["column"]).to_list(), like=known)
    made = encode_numbers(parsed.values, number_features(known.values).scale)
    told = told_of(parsed.problems, items["item_id"])
    return _Part(rows=made.rows, present=made.present, told=told, notes=parsed.told)


def _require_same(dataset: Dataset, name: str, entry: EncoderEntry, inputs: Inputs) -> None:
    if inputs.hash != entry.inputs:
        raise DataError(
            f"expected the {name} features of {dataset.path} to be those of its catalogue, but items were added since; "
            "run 'fuserec features' and train again"
        )


def _words(options: Mapping[str, Any]) -> str:
    model = options.get("model", options["kind"])
    return f"{model} {options['fingerprint'][:12]}" if "fingerprint" in options else str(model)
