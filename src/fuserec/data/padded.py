"""Features and graphs of a dataset with rows for more items, which have none."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fuserec.data.dataset import Dataset
from fuserec.files import read_array, read_arrays

__all__ = ["padded_modalities"]


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
            matrix = read_array(dataset.path / "features" / f"{name}.npy")
            features[name] = place / f"{name}.npy"
            np.save(features[name], np.pad(matrix, ((0, added), (0, 0))))
        if entry.graph is not None:
            arrays = read_arrays(dataset.path / "graphs" / f"{name}.npz")
            graphs[name] = place / f"{name}.npz"
            neighbours = np.pad(arrays["neighbours"], ((0, added), (0, 0)), constant_values=-1)
            weights = np.pad(arrays["weights"], ((0, added), (0, 0)))
            np.savez(graphs[name], neighbours=neighbours, weights=weights)
    return features, graphs
