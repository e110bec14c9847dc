"""Features and graphs of a dataset with rows for more items, which have none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from fuserec.data.dataset import ENCODED_PARTS, PROBLEMS, Dataset
from fuserec.data.features import Features
from fuserec.files import read_arrays

__all__ = ["padded_modalities", "with_encoder"]


def padded_modalities(
    dataset: Dataset, place: Path, num_items: int
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Write all modalities of the dataset into a folder as raw files.

    Args:
        dataset: the old one.
        place: the folder.
        num_items: how many there are now; the new ones come last.

    Returns:
        The files of the features and of the graphs, by modality.
    """
    features, graphs = {}, {}
    added = num_items - dataset.num_items
    for name, entry in dataset.manifest.modalities.items():
        if entry.features is not None:
            matrix = dataset.feature_array(name)
            features[name] = place / f"{name}.npy"
            np.save(features[name], np.pad(matrix, ((0, added), (0, 0))))
        if entry.graph is not None:
            arrays = read_arrays(dataset.path / "graphs" / f"{name}.npz")
            graphs[name] = place / f"{name}.npz"
            neighbours = np.pad(arrays["neighbours"], ((0, added), (0, 0)), constant_values=-1)
            weights = np.pad(arrays["weights"], ((0, added), (0, 0)))
            np.savez(graphs[name], neighbours=neighbours, weights=weights)
    return features, graphs


def with_encoder(dataset: Dataset, name: str, padded: Features) -> Features:
    """Padded features that know how they were made, so that `fuserec features` encodes the new items only.

    Args:
        dataset: the old one.
        name: of the modality.
        padded: its features with rows for more items.
    """
    entry = dataset.manifest.modalities[name].features
    assert entry is not None
    if entry.encoder is None:
        return padded
    parts = {
        part: dataset.feature_array(name, part)
        for part in ENCODED_PARTS
        if dataset.has_feature_array(name, part)
    }
    added = len(padded.rows) - dataset.num_items
    told = f"features/{entry.stem or name}{PROBLEMS}"
    return replace(
        padded,
        encoder=entry.encoder,
        parts={part: np.pad(array, ((0, added), (0, 0))) for part, array in parts.items()},
        told=(dataset.path / told).read_bytes() if told in dataset.manifest.files else b"",
    )
