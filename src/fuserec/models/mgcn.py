"""MGCN: content purified by behaviour, spread in views of its own, fused by preference.

"Multi-View Graph Convolutional Network for Multimedia Recommendation", P. Yu, Z. Tan, G. Lu, B.-K. Bao. ACM
Multimedia 2023, arXiv 2308.03588. docs/papers/mgcn.md says what we know of its text, which function and test hold
each equation, and where we depart.

Shape legend
    U  users   I  items   M  modalities   D  width   W  width of features   B  rows, users before items
    R  some of those rows   C  pairs
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuserec.batch import Corpus, Modality, PairBatch
from fuserec.errors import ConfigError
from fuserec.losses import bpr, info_nce
from fuserec.models.modalities import choose, neighbour_graph, others_first
from fuserec.models.two_tower import TwoTower
from fuserec.nn import Collaborative, FrozenGraph, xavier_linear, xavier_uniform
from fuserec.ops.fusion import choice_weights
from fuserec.ops.graph import SparseMatrix, knn_adjacency, propagate
from fuserec.ops.spectral import leading_eigenvectors
from fuserec.shapes import Bool, Float, Int

__all__ = ["Mgcn", "MgcnConfig", "ModalityView", "item_graph"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MgcnConfig:
    """Options of MGCN; "ours" marks a default that the paper does not state."""

    dim: int = 64
    """Width of every embedding, at least 1 (paper: 64)."""
    num_layers: int = 2
    """Propagation steps on the user-item graph, at least 0 (paper: 2)."""
    item_layers: int = 1
    """Propagation steps on the item graphs, at least 1 (paper: 1)."""
    num_neighbours: int = 10
    """Neighbours of an item in each modality's graph, itself among them, at least 1 (paper: 10)."""
    temperature: float = 0.2
    """Temperature of the contrastive term, above 0 (paper: 0.2)."""
    graph_features: int = 256
    """Leading eigenvectors that stand in for features where a modality has a graph only, at least 1 (ours)."""
    modalities: tuple[str, ...] = ()
    """Names of the modalities to use, in this order; empty means all."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, least in (
            ("dim", 1),
            ("num_layers", 0),
            ("item_layers", 1),
            ("num_neighbours", 1),
            ("graph_features", 1),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not self.temperature > 0.0:
            raise ConfigError(f"temperature must be above 0, got {self.temperature}")
        if len(set(self.modalities)) < len(self.modalities):
            raise ConfigError(f"modalities must name each modality once, got {list(self.modalities)}")


class Mgcn(nn.Module):
    """Users and items alike are what behaviour says plus what content says: a score is one inner product.

    Args:
        config: options.
        corpus: training interactions and at least one modality.
        generator: draws the initial weights.

    Raises:
        ConfigError: a named modality is unknown, or there is none at all.
    """

    def __init__(self, config: MgcnConfig, corpus: Corpus, *, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.collaborative = Collaborative(
            corpus, dim=config.dim, num_layers=config.num_layers, generator=generator
        )
        chosen = choose(corpus, config.modalities)
        self.views = nn.ModuleDict(
            # a bare name such as "type" would hide a method of nn.Module, which torch refuses
            {f"{each.name}_view": ModalityView(config, each, generator=generator) for each in chosen}
        )
        self.attention = xavier_linear(config.dim, config.dim, generator=generator)
        self.attention_query = xavier_uniform(config.dim, 1, generator=generator)
        present_IM = torch.stack([modality.present for modality in chosen], 1)
        reached_UM = propagate(self.collaborative.graph.matrix, present_IM.to(torch.get_default_dtype())) > 0
        self.register_buffer("present_UM", reached_UM, persistent=False)
        self.register_buffer("present_IM", present_IM, persistent=False)

    present_UM: Bool[Tensor, "U M"]
    present_IM: Bool[Tensor, "I M"]

    def begin_epoch(self) -> None:
        """Nothing is built once an epoch."""

    def _views(self) -> list[ModalityView]:
        return list(self.views.values())  # type: ignore[arg-type]

    def modality_features(self) -> list[tuple[Float[Tensor, "U D"], Float[Tensor, "I D"]]]:
        """What each modality says of users and of items: purified, spread between items, gathered by users.

        A user's is the sum over the items i of u of the item's / sqrt(d_u d_i). Sections 3.1 and 3.2.
        """
        warm_ID = self.collaborative.without_cold(self.collaborative.item)
        features = []
        for view in self._views():
            item_ID = view.spread(view.purify(warm_ID))
            features.append((propagate(self.collaborative.graph.matrix, item_ID), item_ID))
        return features

    def attention_weights(
        self, h: Float[Tensor, "M B D"], present: Bool[Tensor, "B M"]
    ) -> Float[Tensor, "B M"]:
        """Softmax over the modalities present of q^T tanh(W h^m + b). Section 3.3."""
        logits_MB = (torch.tanh(self.attention(h)) @ self.attention_query).squeeze(2)
        return choice_weights(logits_MB.T, present)

    def fuse(
        self, z: Float[Tensor, "B D"], h: Float[Tensor, "M B D"], present: Bool[Tensor, "B M"]
    ) -> Float[Tensor, "B D"]:
        """Content of users or items: what modalities share, and of each one's own what behaviour prefers.

        e = s + 1 / |M| sum over m of sigmoid(W_m z + b_m) * (h^m - s), s = sum over m of a_m h^m; an absent
        modality has no part in it and is not counted. Section 3.3.

        Args:
            z: (B, D) what behaviour says.
            h: (M, B, D) what each modality says.
            present: (B, M) modalities there are.

        Returns:
            (B, D); zero for a row without any modality.
        """
        weights_MB1 = self.attention_weights(h, present).T[:, :, None]
        shared_BD = (weights_MB1 * h).sum(0)
        share_BM = present / present.sum(1, keepdim=True).clamp_min(1).to(h.dtype)
        fused_BD = shared_BD
        for view, h_BD, share_B in zip(self._views(), h, share_BM.T, strict=True):
            preference_BD = torch.sigmoid(view.preference(z))
            fused_BD = torch.addcmul(fused_BD, share_B[:, None] * preference_BD, h_BD - shared_BD)
        return fused_BD

    def contrastive(
        self,
        content: Float[Tensor, "B D"],
        z: Float[Tensor, "B D"],
        present: Bool[Tensor, "B M"],
        *,
        rows: Int[Tensor, " R"],
    ) -> Float[Tensor, ""]:
        """() InfoNCE between content and behaviour, over those of the given rows that have content at all. Section 3.4."""
        rows = rows[present[rows].any(1)]
        return info_nce(F.embedding(rows, content), F.embedding(rows, z), temperature=self.config.temperature)

    def behaviour_and_content(
        self, users: Int[Tensor, " _"], items: Int[Tensor, " _"]
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"], Bool[Tensor, "B M"]]:
        """Z, c and the modalities present, each of the given users and then of the given items."""
        z_UD, z_ID = self.collaborative()
        z_BD = torch.cat([F.embedding(users, z_UD), F.embedding(items, z_ID)])
        h_MBD = torch.stack(
            [
                torch.cat([F.embedding(users, h_UD), F.embedding(items, h_ID)])
                for h_UD, h_ID in self.modality_features()
            ]
        )
        present_BM = torch.cat([self.present_UM[users], self.present_IM[items]])
        return z_BD, self.fuse(z_BD, h_MBD, present_BM), present_BM

    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        """Terms ``bpr``, ``contrastive`` (of users plus of items) and ``l2``. Section 3.4."""
        pair_items = torch.cat([batch.positives, batch.negatives])
        users, user_place = torch.unique(batch.users, return_inverse=True)
        items, item_place = torch.unique(pair_items, return_inverse=True)
        z_BD, content_BD, present_BM = self.behaviour_and_content(users, items)
        user_BD, item_BD = (z_BD + content_BD).split([len(users), len(items)])
        user_CD = F.embedding(user_place, user_BD)
        positive_CD, negative_CD = F.embedding(item_place, item_BD).chunk(2)
        user_rows = torch.arange(len(users), device=users.device)
        positive_rows = len(users) + torch.unique(item_place[: len(batch.positives)])
        return {
            "bpr": bpr((user_CD * positive_CD).sum(1), (user_CD * negative_CD).sum(1)),
            "contrastive": self.contrastive(content_BD, z_BD, present_BM, rows=user_rows)
            + self.contrastive(content_BD, z_BD, present_BM, rows=positive_rows),
            "l2": self.collaborative.l2(batch.users, pair_items),
        }

    @torch.no_grad()
    def scorer(self) -> TwoTower:
        """Both towers; cold items by their content alone; a new user by sums over the items of the history."""
        z_UD, z_ID = self.collaborative()
        z_ID = self.collaborative.without_cold(z_ID)
        h_MUD, h_MID = (torch.stack(part) for part in zip(*self.modality_features(), strict=True))
        content_ID = self.fuse(z_ID, h_MID, self.present_IM)
        root_I1 = self.collaborative.degree_I.clamp_min(1).sqrt()[:, None]
        return TwoTower(
            user=z_UD + self.fuse(z_UD, h_MUD, self.present_UM),
            item=z_ID + content_ID,
            fold=self.collaborative.fold() + self.collaborative.without_cold(content_ID / root_I1),
            foldable=self.collaborative.warm_I,
        )


class ModalityView(nn.Module):
    """One modality: its features, how behaviour purifies them, its item graph, and who prefers it.

    Args:
        config: options of the model.
        modality: features, a ready graph, or both.
        generator: draws the weights, and the start of the eigenvectors where there are no features.
    """

    def __init__(self, config: MgcnConfig, modality: Modality, *, generator: torch.Generator) -> None:
        super().__init__()
        self.item_layers = config.item_layers
        adjacency = item_graph(modality, k=config.num_neighbours)
        features = modality.features
        if features is None:
            features = leading_eigenvectors(adjacency, config.graph_features, generator=generator)
        self.graph = FrozenGraph(adjacency)
        self.register_buffer("features", features, persistent=False)
        self.projection = xavier_linear(features.shape[1], config.dim, generator=generator)
        self.gate = xavier_linear(config.dim, config.dim, generator=generator)
        self.preference = xavier_linear(config.dim, config.dim, generator=generator)

    features: Float[Tensor, "I W"]

    def purify(self, ids: Float[Tensor, "I D"]) -> Float[Tensor, "I D"]:
        """E * sigmoid(W_2 (W_1 x + b_1) + b_2), element by element. Section 3.1.

        It is computed as (W_2 W_1) x + (W_2 b_1 + b_2): one product with all items instead of two.
        """
        weight_DW = self.gate.weight @ self.projection.weight
        return ids * torch.sigmoid(F.linear(self.features, weight_DW, self.gate(self.projection.bias)))

    def spread(self, x: Float[Tensor, "I D"]) -> Float[Tensor, "I D"]:
        """S^L x on the item graph of this modality. Section 3.2."""
        for _ in range(self.item_layers):
            x = propagate(self.graph.matrix, x)
        return x


def item_graph(modality: Modality, *, k: int) -> SparseMatrix:
    """D^-1/2 S D^-1/2, S the cosines of the k nearest of each item. Section 3.2.

    The nearest of an item is the item itself, with weight 1. The graph stays directed; D sums the rows. An item
    without the modality has an empty row and an empty column.

    Args:
        modality: a ready graph is taken before features.
        k: neighbours, the item itself among them, at least 1.

    Raises:
        ConfigError: there are neither features nor a graph.
    """
    others = others_first(neighbour_graph(modality, max(1, k - 1)), modality.present, k - 1)
    return knn_adjacency(others, modality.present, directed=True)
