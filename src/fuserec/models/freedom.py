"""FREEDOM: a frozen item graph from content beside a pruned user-item graph.

"A Tale of Two Graphs: Freezing and Denoising Graph Structures for Multimodal Recommendation", X. Zhou, Z. Shen.
ACM Multimedia 2023, arXiv 2211.06924. docs/papers/freedom.md says which function and test hold each equation (the
numbers are ours), and where we depart.

Shape legend
    U  users   I  items   D  width   W  width of a modality's features   B  batch
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuserec.batch import Corpus, Modality, PairBatch
from fuserec.errors import ConfigError
from fuserec.losses import bpr
from fuserec.models.modalities import check_weights, choose, neighbour_graph, others_first
from fuserec.models.two_tower import TwoTower
from fuserec.nn import Collaborative, FrozenGraph, PrunedGraph, xavier_uniform
from fuserec.ops.graph import SparseMatrix, knn_entries, propagate
from fuserec.shapes import Bool, Float, Int

__all__ = ["Freedom", "FreedomConfig", "Projection", "frozen_item_graph"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FreedomConfig:
    """Options of FREEDOM."""

    dim: int = 64
    """Width of the embeddings, at least 1 (paper: 64)."""
    num_layers: int = 2
    """Propagation steps on the user-item graph, at least 0 (paper: 2)."""
    item_layers: int = 1
    """Propagation steps on the item graph, at least 1 (paper: 1)."""
    num_neighbours: int = 10
    """Neighbours k of an item in each modality's graph, itself among them, at least 1 (paper: 10)."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Weight alpha of each modality's graph by name, at least 0; modalities not named are not used (paper: image 0.1, text
    0.9). Empty: all, with equal weights that sum to 1."""
    kept_share: float = 0.2
    """Share of the pairs kept in an epoch's user-item graph, above 0, at most 1 (paper: 1 - rho, rho in 0.8, 0.9)."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, least in (("dim", 1), ("num_layers", 0), ("item_layers", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0.0 < self.kept_share <= 1.0:
            raise ConfigError(f"kept_share must be above 0 and at most 1, got {self.kept_share}")
        check_weights(self.weights, self.num_neighbours, option="num_neighbours")


class Freedom(nn.Module):
    """An item is its collaborative vector plus the embeddings of its neighbours by content; a user the former alone.

    Args:
        config: options.
        corpus: training interactions and at least one modality.
        generator: draws the initial weights and the seed of the pruning.

    Raises:
        ConfigError: a named modality is unknown or has neither features nor a graph, or there is none at all.
    """

    def __init__(self, config: FreedomConfig, corpus: Corpus, *, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.collaborative = Collaborative(
            corpus, dim=config.dim, num_layers=config.num_layers, generator=generator
        )
        chosen = [
            (modality, config.weights.get(modality.name, 1.0 / len(corpus.modalities)))
            for modality in choose(corpus, config.weights)
        ]
        self.item_graph = FrozenGraph(frozen_item_graph(chosen, k=config.num_neighbours))
        self.projections = nn.ModuleDict(
            {
                # a bare name such as "type" would hide a method of nn.Module, which torch refuses
                f"{modality.name}_content": Projection(modality, config.dim, generator=generator)
                for modality, _ in chosen
                if modality.features is not None
            }
        )
        self.pruned = PrunedGraph(
            self.collaborative.graph.matrix, share=config.kept_share, generator=generator
        )

    def begin_epoch(self) -> None:
        """Draw this epoch's user-item graph. Eq. (4), (5)."""
        self.pruned.begin_epoch(self.collaborative.graph.matrix)

    def content_view(self) -> Float[Tensor, "I D"]:
        """H = S^L E_I on the item graph, from warm items only. Eq. (7)."""
        h = self.collaborative.without_cold(self.collaborative.item)
        for _ in range(self.config.item_layers):
            h = propagate(self.item_graph.matrix, h)
        return h

    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        """Terms ``bpr`` and ``content`` (the sum over modalities, to be weighted by the paper's lambda). Eq. (6) to (9)."""
        user_UD, z_ID = self.collaborative(self.pruned.matrix)
        items = torch.cat([batch.positives, batch.negatives])
        user_BD = F.embedding(batch.users, user_UD)
        positive_BD, negative_BD = F.embedding(items, z_ID + self.content_view()).chunk(2)
        content = [
            projection.ranking_loss(user_BD, batch.positives, batch.negatives)  # type: ignore[operator]
            for projection in self.projections.values()
        ]
        return {
            "bpr": bpr((user_BD * positive_BD).sum(1), (user_BD * negative_BD).sum(1)),
            "content": torch.stack(content).sum() if content else user_BD.sum() * 0.0,
        }

    @torch.no_grad()
    def scorer(self) -> TwoTower:
        """Both towers on the whole user-item graph; cold items have their neighbours' view only."""
        user_UD, z_ID = self.collaborative()
        return TwoTower(
            user=user_UD,
            item=self.collaborative.without_cold(z_ID) + self.content_view(),
            fold=self.collaborative.fold(),
            foldable=self.collaborative.warm_I,
        )


class Projection(nn.Module):
    """Features of one modality in the space of the users, and how well they rank there. Eq. (9).

    The paper's projection has a bias; it is the same for both items of a pair, so a ranking loss cannot see it.

    Args:
        modality: with features.
        dim: D.
        generator: draws the weights.
    """

    def __init__(self, modality: Modality, dim: int, *, generator: torch.Generator) -> None:
        super().__init__()
        assert modality.features is not None
        self.register_buffer("features", modality.features, persistent=False)
        self.register_buffer("present", modality.present, persistent=False)
        self.weight = xavier_uniform(modality.features.shape[1], dim, generator=generator)

    features: Float[Tensor, "I W"]
    present: Bool[Tensor, " I"]

    def ranking_loss(
        self, user: Float[Tensor, "B D"], positives: Int[Tensor, " B"], negatives: Int[Tensor, " B"]
    ) -> Float[Tensor, ""]:
        """() BPR of the projected features in nats, the mean over the batch.

        <u, x_i W> - <u, x_j W> is <u, (x_i - x_j) W>: one product for both items. A pair of which one item has no
        such features adds 0 but is counted, so that a modality that few items have weighs little.

        Args:
            user: (B, D) z_u.
            positives: (B,) items.
            negatives: (B,) items.
        """
        difference_BW = F.embedding(positives, self.features) - F.embedding(negatives, self.features)
        ahead_B = (user * (difference_BW @ self.weight)).sum(1)
        both_B = self.present[positives] & self.present[negatives]
        return (F.softplus(-ahead_B) * both_B).mean()


def frozen_item_graph(modalities: list[tuple[Modality, float]], *, k: int) -> SparseMatrix:
    """S = sum over m of alpha_m D^-1/2 S^m D^-1/2, S^m the unweighted k nearest of each item. Eq. (1) to (3).

    The nearest of an item is the item itself. The graph stays directed; D counts the neighbours of a row.

    Args:
        modalities: at least one, each with its weight alpha_m; a ready graph is taken before features.
        k: neighbours, the item itself among them, at least 1.

    Returns:
        (I, I) graph; rows and columns of items without any of the modalities are empty.

    Raises:
        ConfigError: a modality has neither features nor a graph.
    """
    parts = []
    for modality, alpha in modalities:
        others = others_first(neighbour_graph(modality, max(1, k - 1)), modality.present, k - 1)
        unweighted = replace(others, weights=torch.ones_like(others.weights))
        parts.append((alpha, knn_entries(unweighted, modality.present, directed=True)))
    size = len(modalities[0][0].present)
    return SparseMatrix.weighted_sum(parts, shape=(size, size))
