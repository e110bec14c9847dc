"""The modalities that a model asks for, their weights, and the neighbours of items in one of them.

Shape legend
    I  items   K  neighbours
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from fuserec.batch import Corpus, KnnGraph, Modality
from fuserec.errors import ConfigError, nearest
from fuserec.ops.knn import cosine_knn
from fuserec.shapes import Bool

__all__ = ["check_weights", "choose", "neighbour_graph", "others_at_most", "others_first"]


def check_weights(weights: Mapping[str, float], neighbours: int, *, option: str = "neighbours") -> None:
    """Check the options that all content graphs share.

    Args:
        weights: of the modalities by name.
        neighbours: of an item.
        option: what the model calls the latter.

    Raises:
        ConfigError: a weight is negative, all are 0, or ``neighbours`` is below 1.
    """
    for name, weight in weights.items():
        if not weight >= 0:
            raise ConfigError(f"expected a weight of at least 0 for {name!r}, got {weight}")
    if weights and not any(weights.values()):
        raise ConfigError(f"expected a weight above 0 for at least one modality, got {dict(weights)}")
    if neighbours < 1:
        raise ConfigError(f"expected {option} of at least 1, got {neighbours}")


def choose(corpus: Corpus, names: Iterable[str]) -> list[Modality]:
    """The modalities of those names, in that order; all of them where no name is given.

    Raises:
        ConfigError: a name is unknown, or there is no modality at all.
    """
    known = {modality.name: modality for modality in corpus.modalities}
    if not known:
        raise ConfigError(
            "expected a dataset with at least one modality, got none; attach features or a graph, or use lightgcn"
        )
    chosen = []
    for name in names:
        if name not in known:
            raise ConfigError(f"expected a modality of the dataset, got {name!r}; {nearest(name, known)}")
        chosen.append(known[name])
    return chosen or list(corpus.modalities)


def neighbour_graph(modality: Modality, k: int) -> KnnGraph:
    """The ready graph, with as many neighbours as it has; else the k others of highest cosine.

    Args:
        modality: a ready graph is taken before features.
        k: neighbours where there is no ready graph, at least 1; more than all others is as many as there are.

    Raises:
        ConfigError: there are neither features nor a graph.
    """
    if modality.graph is not None:
        return modality.graph
    if modality.features is None:
        raise ConfigError(f"expected features or a graph for modality {modality.name!r}, got neither")
    return cosine_knn(modality.features, modality.present, others_at_most(k, len(modality.present)))


def others_at_most(k: int, num_items: int) -> int:
    """k, or as many as an item has others, and 1 at least: what no item can have takes memory for nothing."""
    return max(1, min(k, num_items - 1))


def others_first(graph: KnnGraph, present: Bool[Tensor, " I"], count: int) -> KnnGraph:
    """The first ``count`` neighbours that are neither the item itself nor without the modality; -1 after them."""
    columns = graph.neighbours
    counts = (columns >= 0) & (columns != torch.arange(len(columns))[:, None])
    counts &= present[:, None] & present[columns.clamp_min(0)]
    order = (~counts).to(torch.int8).argsort(dim=1, stable=True)[:, :count]
    return KnnGraph(
        neighbours=torch.where(counts, columns, -1).gather(1, order),
        weights=torch.where(counts, graph.weights, 0.0).gather(1, order),
    )
