"""The content of a dataset dealt anew among its items: the control for what content gives.

Events, splits and catalogue stay, and so does everything that content is apart from whose it is: the same vectors, the
same graph, the same number of items without any. What a model still gains from it, it gains without the content of
its items.

Shape legend
    I  items   K  neighbours
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fuserec.data.build import make_dataset, refuse_place
from fuserec.data.dataset import Dataset
from fuserec.data.features import Features
from fuserec.data.graphs import NeighbourGraph
from fuserec.data.other_content import graph_of, plan_of
from fuserec.data.plan import Plan
from fuserec.data.report import count
from fuserec.data.schema import Finding
from fuserec.errors import ConfigError, DataError

__all__ = ["deal", "shuffle_content", "shuffle_features", "shuffle_graph"]


def deal(num_items: int, seed: int) -> NDArray[np.int64]:
    """(I,) the item whose content each item gets: a permutation, all equally likely.

    Raises:
        ConfigError: the seed is below 0.
    """
    if seed < 0:
        raise ConfigError(f"seed must be at least 0, got {seed}")
    return np.random.default_rng(seed).permutation(num_items)


def shuffle_features(
    matrix: NDArray[Any],
    present: NDArray[np.bool_],
    source: NDArray[np.int64],
    dtype: Literal["float16", "float32"],
) -> Features:
    """Features where item i has the row of item ``source[i]``; who got an empty row has none.

    Args:
        matrix: (I, width); it may stay in its file.
        present: (I,) True where the item has features.
        source: (I,) a permutation of the items.
        dtype: of the dataset's matrix.
    """
    return Features(matrix=matrix, rows=source, present=present[source], dtype=dtype, findings=())


def shuffle_graph(
    neighbours: NDArray[np.int64], weights: NDArray[np.float32], source: NDArray[np.int64]
) -> NeighbourGraph:
    """The same graph on permuted nodes: item i stands where item ``source[i]`` stood.

    Args:
        neighbours: (I, K) items, -1 for none.
        weights: (I, K).
        source: (I,) a permutation of the items.
    """
    # The inverse: the item that now stands in the place of each.
    holder = np.argsort(source)
    renamed = np.where(neighbours < 0, -1, holder[neighbours])
    return NeighbourGraph(neighbours=renamed[source], weights=weights[source], findings=())


def shuffle_content(dataset: Dataset, out: Path, *, seed: int = 0, overwrite: bool = False) -> Dataset:
    """Make a new dataset in which every item has the content of a random one.

    All modalities move by one permutation of the whole catalogue, so what belongs together stays together.

    Args:
        dataset: the old one; nothing in its folder changes.
        out: where the new one shall stand.
        seed: of the permutation.
        overwrite: replace a dataset that stands at ``out``; never the old one.

    Raises:
        ConfigError: the seed is below 0, or by chance leaves all content where it is.
        DataError: the dataset has no content or is shuffled already, or ``out`` cannot be written.
    """
    out, manifest = Path(out), dataset.manifest
    if not manifest.modalities:
        raise DataError(
            f"expected a dataset with features or graphs to shuffle, but {dataset.path} has none; "
            "build it with --features or --graph"
        )
    if manifest.shuffle_seed is not None:
        raise DataError(
            f"expected a dataset with the content of its own items, but {dataset.path} is shuffled already "
            f"(seed {manifest.shuffle_seed}); shuffle the one that it was made of"
        )
    source = deal(dataset.num_items, seed)
    own = int((source == np.arange(dataset.num_items)).sum())
    if own == dataset.num_items:
        raise ConfigError(
            f"expected a seed that moves content, but {seed} leaves that of {count(own, 'item')} where it is; "
            "choose another"
        )
    refuse_place(out, [dataset.path], overwrite=overwrite)
    return make_dataset(out, _plan(dataset, source, seed, own), overwrite=overwrite)


def _plan(dataset: Dataset, source: NDArray[np.int64], seed: int, own: int) -> Plan:
    """All that the new folder will hold."""
    features, graphs, entries = {}, {}, {}
    for name, entry in dataset.manifest.modalities.items():
        entries[name] = entry
        if entry.features is not None:
            matrix, present = dataset.feature_array(name), dataset.feature_array(name, "present")
            features[name] = shuffle_features(matrix, present, source, entry.features.dtype)
            # How they were made is no longer true of any item.
            told = entry.features.model_copy(update={"stem": None, "encoder": None})
            entries[name] = entry.model_copy(update={"features": told})
        if entry.graph is not None:
            graph = graph_of(dataset, name)
            graphs[name] = shuffle_graph(graph.neighbours, graph.weights, source)
    message = (
        f"content of {count(dataset.num_items, 'item')} of the dataset {dataset.manifest_hash[:12]} dealt anew among "
        f"them with seed {seed}, which left that of {count(own, 'item')} in place"
    )
    finding = Finding(kind="shuffled", count=dataset.num_items - own, message=message)
    plan = plan_of(dataset, entries, features, graphs, [finding])
    return replace(plan, manifest=plan.manifest.model_copy(update={"shuffle_seed": seed}))
