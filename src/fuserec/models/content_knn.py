"""Content kNN: items that look or read alike, whoever chose them.

Shape legend
    I  items
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from fuserec.batch import Corpus
from fuserec.models.item_to_item import ItemToItem
from fuserec.models.modalities import check_weights, choose, neighbour_graph
from fuserec.ops.graph import symmetric_neighbours
from fuserec.ops.sum_rows import SparseRows

__all__ = ["ContentKnn", "ContentKnnConfig", "content_neighbours", "weighted_sum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentKnnConfig:
    """Options of content kNN."""

    weights: Mapping[str, float] = field(default_factory=dict)
    """Weight of each modality by name, at least 0; modalities not named are not used. Empty: all, with weight 1."""
    neighbours: int = 10
    """Neighbours of an item where a modality has no ready graph, at least 1. The default is the one of the published
    graphs (tmfun.md, k)."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_weights(self.weights, self.neighbours)


class ContentKnn:
    """score of j = sum over i in the history, over modalities m, of weight_m max(S^m_ij, S^m_ji).

    S^m are the cosines of each item's nearest others: the ready graph where the modality has one, else computed from
    its features. Either direction makes two items neighbours. An item without a modality has no neighbours in it.
    """

    def __init__(self, config: ContentKnnConfig) -> None:
        self.config = config

    def fit(self, corpus: Corpus) -> ItemToItem:
        """Find the neighbours and add up the modalities.

        Raises:
            ConfigError: a weight names no modality of the corpus, or there is none at all.
        """
        parts = content_neighbours(corpus, self.config.weights, self.config.neighbours)
        return ItemToItem(weighted_sum(parts))


def content_neighbours(
    corpus: Corpus, weights: Mapping[str, float], k: int
) -> list[tuple[float, SparseRows]]:
    """Each modality used: its weight and its (I, I) cosines max(S, S^T), the item itself left out.

    Args:
        corpus: its modalities are used.
        weights: of the modalities by name; empty for all of them with weight 1.
        k: neighbours of an item where there is no ready graph.

    Raises:
        ConfigError: a weight names no modality of the corpus, or there is none at all.
    """
    return [
        (
            weights.get(modality.name, 1.0),
            symmetric_neighbours(neighbour_graph(modality, k), modality.present),
        )
        for modality in choose(corpus, weights)
    ]


def weighted_sum(parts: list[tuple[float, SparseRows]]) -> SparseRows:
    """The sum of weight times matrix over at least one part; all matrices have the same shape."""
    first = parts[0][1]
    return SparseRows.from_entries(
        torch.cat([matrix.rows for _, matrix in parts]),
        torch.cat([matrix.columns for _, matrix in parts]),
        torch.cat([weight * matrix.values for weight, matrix in parts]),
        shape=(first.num_rows, first.num_columns),
    )
