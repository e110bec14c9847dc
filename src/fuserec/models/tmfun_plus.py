"""TMFUN's strong recipe: what a user's items are to each other, on graphs of content and of behaviour.

Not the published model (`fuserec.models.tmfun` is built after that one), but what the additions of its specification
came to when each was judged on validation. docs/papers/tmfun_plus.md says which equation, function and test belong together
and what every addition gave.

Shape legend
    U  users   I  items   C  cold items   D  width   B  batch
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuserec.batch import Corpus, PairBatch
from fuserec.errors import ConfigError
from fuserec.losses import bpr
from fuserec.models.behaviour_graph import behaviour_graph
from fuserec.models.modalities import check_weights, choose, neighbour_graph
from fuserec.models.two_tower import TwoTower
from fuserec.nn import Collaborative, FrozenGraph, PrunedGraph, ThinnedGraph
from fuserec.ops.graph import SparseMatrix, knn_adjacency, propagate
from fuserec.shapes import Float

__all__ = ["TmfunPlus", "TmfunPlusConfig", "item_graph", "mean_of_rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TmfunPlusConfig:
    """Options of TMFUN plus; all defaults are ours (docs/lab.md says what each gave)."""

    dim: int = 64
    """Width d of the embeddings, at least 1."""
    num_layers: int = 2
    """Propagation steps L on the user-item graph, at least 0."""
    item_layers: int = 1
    """Propagation steps on the item graphs, at least 1."""
    num_neighbours: int = 10
    """Neighbours of an item in each modality's graph that is not ready-made, at least 1."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Weight of each modality's graph by name, at least 0; modalities not named are not used. Empty: all, with equal weights
    that sum to 1."""
    behaviour_weight: float = 1.0
    """Weight of the graph of behaviour beside those of content, at least 0; with 0 there is none."""
    behaviour_neighbours: int = 20
    """Neighbours of an item in the graph of behaviour, at least 1."""
    regularisation: float = 200.0
    """Of EASE, whose weights the graph of behaviour holds, above 0."""
    max_items: int = 20_000
    """Largest catalogue for which EASE is solved; see `fuserec.models.ease.EaseConfig`."""
    history: bool = True
    """Add to a user the mean of what the graphs say of the user's items."""
    kept_share: float = 0.1
    """Share of the training pairs in the user-item graph of an epoch, drawn anew for each, above 0, at most 1."""
    thinned_share: float = 0.5
    """Share of the item graphs' entries that an epoch goes without, at least 0, below 1."""
    cold_scale: float = 2.0
    """How loud an item without interactions is beside the mean of its neighbours, above 0. A mean is shorter than what it is
    the mean of, so 1 hides new items behind all others."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, least in (("dim", 1), ("num_layers", 0), ("item_layers", 1), ("behaviour_neighbours", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not self.behaviour_weight >= 0.0:
            raise ConfigError(f"behaviour_weight must be at least 0, got {self.behaviour_weight}")
        if not self.regularisation > 0.0:
            raise ConfigError(f"regularisation must be above 0, got {self.regularisation}")
        if self.max_items < 1:
            raise ConfigError(f"max_items must be at least 1, got {self.max_items}")
        if not 0.0 < self.kept_share <= 1.0:
            raise ConfigError(f"kept_share must be above 0 and at most 1, got {self.kept_share}")
        if not 0.0 <= self.thinned_share < 1.0:
            raise ConfigError(f"thinned_share must be at least 0 and below 1, got {self.thinned_share}")
        if not self.cold_scale > 0.0:
            raise ConfigError(f"cold_scale must be above 0, got {self.cold_scale}")
        check_weights(self.weights, self.num_neighbours, option="num_neighbours")


class TmfunPlus(nn.Module):
    """An item is its collaborative vector plus what its neighbours are; a user adds what the items of the history are.

    Args:
        config: options.
        corpus: training interactions and at least one modality.
        generator: draws the initial weights and the seeds of the epochs' graphs.

    Raises:
        ConfigError: a named modality is unknown, there is none at all, or EASE cannot be solved.
    """

    def __init__(self, config: TmfunPlusConfig, corpus: Corpus, *, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.collaborative = Collaborative(
            corpus, dim=config.dim, num_layers=config.num_layers, generator=generator
        )
        full = self.collaborative.graph.matrix
        self.pruned = PrunedGraph(full, share=config.kept_share, generator=generator)
        self.item_graph = ThinnedGraph(
            item_graph(config, corpus), share=config.thinned_share, generator=generator
        )
        self.item_scale = nn.Parameter(torch.ones(()))
        if config.history:
            self.history = FrozenGraph(mean_of_rows(full))
            share_U1 = full.row_counts().clamp_min(1).reciprocal()[:, None]
            self.register_buffer("share_U1", share_U1, persistent=False)
            self.history_scale = nn.Parameter(torch.tensor(0.3))

    share_U1: Float[Tensor, "U 1"]

    def begin_epoch(self) -> None:
        """Draw this epoch's graphs. Eq. (1), (2)."""
        self.pruned.begin_epoch(self.collaborative.graph.matrix)
        self.item_graph.begin_epoch()

    def neighbour_view(self, graph: SparseMatrix) -> Float[Tensor, "I D"]:
        """G = s A^L E_I, from warm items only. Eq. (3)."""
        g_ID = self.collaborative.without_cold(self.collaborative.item)
        for _ in range(self.config.item_layers):
            g_ID = propagate(graph, g_ID)
        return self.item_scale * g_ID

    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        """Terms ``bpr`` and ``l2``. Eq. (6), with the history of Eq. (5) less the positive itself."""
        z_UD, z_ID = self.collaborative(self.pruned.matrix)
        g_ID = self.neighbour_view(self.item_graph.matrix)
        items = torch.cat([batch.positives, batch.negatives])
        positive_BD, negative_BD = F.embedding(items, z_ID + g_ID).chunk(2)
        user_BD = F.embedding(batch.users, z_UD)
        if self.config.history:
            user_BD = user_BD + self.history_scale * self.others_in_history(batch, g_ID)
        return {
            "bpr": bpr((user_BD * positive_BD).sum(1), (user_BD * negative_BD).sum(1)),
            "l2": self.collaborative.l2(batch.users, items),
        }

    def others_in_history(self, batch: PairBatch, g: Float[Tensor, "I D"]) -> Float[Tensor, "B D"]:
        """(sum over the user's items j other than the positive of g_j) / n_u. Eq. (5).

        With the positive in it, the sum would tell the answer that training asks for.
        """
        mean_UD = propagate(self.history.matrix, g)
        share_B1 = F.embedding(batch.users, self.share_U1)
        return F.embedding(batch.users, mean_UD) - share_B1 * F.embedding(batch.positives, g)

    @torch.no_grad()
    def scorer(self) -> TwoTower:
        """Both towers on the whole graphs; cold items are what their neighbours are. Eq. (4), (5), (7)."""
        user_UD, z_ID = self.collaborative()
        g_ID = self.neighbour_view(self.item_graph.full.matrix)
        mean_fold = None
        if self.config.history:
            user_UD = user_UD + self.history_scale * propagate(self.history.matrix, g_ID)
            mean_fold = self.history_scale * g_ID
        return TwoTower(
            user=user_UD,
            item=self.with_cold_items(z_ID + g_ID),
            fold=self.collaborative.fold(),
            foldable=self.collaborative.warm_I,
            mean_fold=mean_fold,
        )

    def with_cold_items(self, item: Float[Tensor, "I D"]) -> Float[Tensor, "I D"]:
        """The vectors, with c times the weighted mean of its warm neighbours in A for each cold item. Eq. (7).

        Zero where it has no such neighbour. Weights below 0 (cosines of opposites in a small catalogue) are left out: a sum
        in which signs cancel is no divisor.
        """
        graph, cold = self.item_graph.full.matrix.without_negatives(), self.collaborative.cold
        warm_I1 = self.collaborative.warm_I[:, None].to(item.dtype)
        weight_I1 = propagate(graph, warm_I1)[cold]
        total_CD = propagate(graph, item * warm_I1)[cold]
        found_C1 = weight_I1 > 0
        mean_CD = torch.where(found_C1, total_CD / torch.where(found_C1, weight_I1, 1.0), 0.0)
        return item.index_copy(0, cold, self.config.cold_scale * mean_CD)


def item_graph(config: TmfunPlusConfig, corpus: Corpus) -> SparseMatrix:
    """A = sum over m of w_m norm(S^m) + w_b B: neighbours by content, and by behaviour. Eq. (2).

    Raises:
        ConfigError: a named modality is unknown, there is none at all, or EASE cannot be solved.
    """
    chosen = choose(corpus, config.weights)
    parts = [
        (
            config.weights.get(modality.name, 1.0 / len(chosen)),
            knn_adjacency(neighbour_graph(modality, config.num_neighbours), modality.present),
        )
        for modality in chosen
    ]
    if config.behaviour_weight > 0.0:
        behaviour = behaviour_graph(
            corpus,
            k=config.behaviour_neighbours,
            regularisation=config.regularisation,
            max_items=config.max_items,
        )
        parts.append((config.behaviour_weight, behaviour))
    entries = [(weight, matrix.entries()) for weight, matrix in parts]
    return SparseMatrix.weighted_sum(entries, shape=(corpus.num_items, corpus.num_items))


def mean_of_rows(graph: SparseMatrix) -> SparseMatrix:
    """The same places, 1 / (their number in the row) each."""
    rows, columns, _ = graph.entries()
    return SparseMatrix.from_entries(rows, columns, graph.row_counts()[rows].reciprocal(), shape=graph.shape)
