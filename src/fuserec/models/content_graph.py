"""Closed forms with content: what users chose together plus what looks or reads alike.

The two strongest cheap baselines (docs/papers/closed-forms.md). They are our own combinations, not published ones.

Shape legend
    I  items
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fuserec.batch import Corpus
from fuserec.errors import ConfigError
from fuserec.models.content_knn import content_neighbours, weighted_sum
from fuserec.models.ease import EaseConfig, ease_weights
from fuserec.models.item_knn import ItemKnnConfig, shrunk_cosine
from fuserec.models.item_to_item import ItemToItem
from fuserec.models.modalities import check_weights
from fuserec.ops.graph import normalise
from fuserec.ops.sum_rows import SparseRows
from fuserec.shapes import Float

__all__ = ["EaseContent", "EaseContentConfig", "ItemKnnContent", "ItemKnnContentConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemKnnContentConfig:
    """Options of ItemKNN with content neighbours."""

    shrinkage: float = 200.0
    """Of ItemKNN, at least 0; see `fuserec.models.item_knn.ItemKnnConfig`."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Weight of each modality's cosines beside the shrunk cosines, by name, at least 0; modalities not named are not used.
    Empty: all, with weight 0.01, the one of text on Amazon Baby (docs/lab.md)."""
    neighbours: int = 10
    """Neighbours of an item where a modality has no ready graph, at least 1."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        ItemKnnConfig(shrinkage=self.shrinkage)
        check_weights(self.weights, self.neighbours)


class ItemKnnContent:
    """score of j = sum over i in the history of shrunk cosine_ij + sum over m of weight_m max(S^m_ij, S^m_ji)."""

    def __init__(self, config: ItemKnnContentConfig) -> None:
        self.config = config

    def fit(self, corpus: Corpus) -> ItemToItem:
        """Weigh pairs of items by common users and by content.

        Raises:
            ConfigError: a weight names no modality of the corpus, or there is none at all.
        """
        weights = self.config.weights or {modality.name: 0.01 for modality in corpus.modalities}
        content = content_neighbours(corpus, weights, self.config.neighbours)
        together = shrunk_cosine(corpus, self.config.shrinkage)
        return ItemToItem(weighted_sum([(1.0, together), *content]))


@dataclass(frozen=True, slots=True, kw_only=True)
class EaseContentConfig:
    """Options of EASE with a content graph."""

    regularisation: float = 400.0
    """Of EASE, above 0 (paper: lambda). The default is validation's choice on Amazon Baby (docs/lab.md)."""
    content_weight: float = 0.05
    """Weight of the content graph beside EASE, at least 0 (ours: alpha). The default is validation's choice likewise."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Weight of each modality within the content graph, by name, at least 0; modalities not named are not used. Empty: all,
    with equal weights that sum to 1."""
    neighbours: int = 10
    """Neighbours of an item where a modality has no ready graph, at least 1."""
    max_items: int = 20_000
    """Largest catalogue; see `fuserec.models.ease.EaseConfig`."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        EaseConfig(regularisation=self.regularisation, max_items=self.max_items)
        if not self.content_weight >= 0:
            raise ConfigError(f"expected content_weight of at least 0, got {self.content_weight}")
        check_weights(self.weights, self.neighbours)


class EaseContent:
    """score of j = sum over i in the history of K_ij + alpha C_ij sqrt(n_j) / mean of sqrt(n).

    K is EASE's; C = sum over m of weight_m D^-1/2 max(S^m, S^m^T) D^-1/2; n_j are training interactions.
    A cold item has n_j = 0, hence score 0.
    """

    def __init__(self, config: EaseContentConfig) -> None:
        self.config = config

    def fit(self, corpus: Corpus) -> ItemToItem:
        """Solve for K and add the content graph.

        Raises:
            ConfigError: a weight names no modality of the corpus, there is none at all, or EASE cannot be solved.
        """
        config = self.config
        equal = {modality.name: 1 / len(corpus.modalities) for modality in corpus.modalities}
        content = content_neighbours(corpus, config.weights or equal, config.neighbours)
        weights_II = ease_weights(corpus, config.regularisation, max_items=config.max_items)
        graph = weighted_sum([(weight, _normalised(matrix)) for weight, matrix in content])
        liking = _relative_root_popularity(corpus)
        added = config.content_weight * graph.values * liking[graph.columns]
        weights_II.index_put_((graph.rows, graph.columns), added, accumulate=True)
        return ItemToItem(weights_II)


def _normalised(matrix: SparseRows) -> SparseRows:
    """D^-1/2 S D^-1/2."""
    rows, columns = matrix.rows, matrix.columns
    values = normalise(rows, columns, matrix.values, num_nodes=matrix.num_rows)
    return SparseRows.from_entries(rows, columns, values, shape=(matrix.num_rows, matrix.num_columns))


def _relative_root_popularity(corpus: Corpus) -> Float[Tensor, " I"]:
    """sqrt(n_j) over its mean, which counts all items, cold ones too."""
    root = corpus.popularity().to(torch.float32).sqrt()
    return root / root.mean().clamp_min(torch.finfo(root.dtype).tiny)
