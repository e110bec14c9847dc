"""What one modality says of the items: TMFUN's projection and modality feature graph.

docs/papers/tmfun.md has the equations; Eq. (3), (4) and "Cold items" use what stands here.

Shape legend
    I  items   D  width   B  rows of a batch
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuserec.batch import Modality
from fuserec.errors import ConfigError
from fuserec.models.modalities import neighbour_graph, others_at_most
from fuserec.models.tmfun_config import TmfunConfig
from fuserec.nn import FrozenGraph, xavier_linear
from fuserec.ops.graph import SparseMatrix, knn_adjacency, knn_entries, propagate
from fuserec.ops.nearest import float32_knn
from fuserec.ops.spectral import leading_eigenvectors
from fuserec.shapes import Float, Int

__all__ = ["ModalityGraph"]


class ModalityGraph(nn.Module):
    """Projection and graph of one modality: Eq. (1), (2) and its part of (4).

    Content does not travel on the user graph, so P^m = A^m X^m is formed once an epoch, and a batch needs
    only H^m = P^m W_m + (row sums of A^m) b_m for its own rows.

    Args:
        config: options of the model.
        modality: features, a ready graph, or both.
        generator: draws the projection, and the start of the eigenvectors where there are no features.

    Raises:
        ConfigError: there is nothing to stand for features and no graph on which IDs could travel.
    """

    def __init__(self, config: TmfunConfig, modality: Modality, *, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        features = modality.features
        knn = neighbour_graph(modality, config.num_neighbours)
        frozen = knn_adjacency(knn, modality.present, directed=config.directed)
        wanted = config.feature_graph_input == "feature"
        if features is None and wanted and config.graph_features > 0:
            features = leading_eigenvectors(frozen, config.graph_features, generator=generator)
        if features is None and not config.modality_graphs:
            raise ConfigError(
                f"expected features for modality {modality.name!r} with modality_graphs = false, got a graph alone; "
                "set graph_features above 0 or attach features"
            )
        self.uses_features = features is not None and wanted
        self.learns_graph = self.uses_features and config.frozen_share < 1.0
        self.frozen, self.adjacency = FrozenGraph(frozen), FrozenGraph(frozen)
        self.register_buffer("features", features if self.uses_features else None, persistent=False)
        self.register_buffer("present", modality.present, persistent=False)
        self.register_buffer("travelled", None, persistent=False)
        self.register_buffer("row_sums", frozen.row_sums(), persistent=False)
        if features is not None and self.uses_features:
            self.projection = xavier_linear(features.shape[1], config.dim, generator=generator)

    features: Tensor | None
    present: Tensor
    travelled: Tensor | None
    row_sums: Tensor

    def projected(self) -> Float[Tensor, "I D"]:
        """F^m = X^m W_m + b_m. Eq. (1)."""
        result: Tensor = self.projection(self.features)
        return result

    @torch.no_grad()
    def rebuild(self) -> None:
        """A^m = lambda norm(frozen) + (1 - lambda) norm(topk cos F^m), detached; then P^m. Eq. (2), (4)."""
        share = self.config.frozen_share
        if self.learns_graph:
            k = others_at_most(self.config.num_neighbours, len(self.present))
            knn = float32_knn(self.projected(), self.present, k)
            learnt = knn_entries(knn, self.present, directed=self.config.directed)
            frozen = self.frozen.matrix
            parts = [(share, frozen.entries()), (1.0 - share, learnt)]
            self.adjacency.replace(SparseMatrix.weighted_sum(parts, shape=frozen.shape))
        if self.features is not None and (self.learns_graph or self.travelled is None):
            self.travelled = self.travel(self.features)
            self.row_sums = self.travel(self.features.new_ones(len(self.present), 1))[:, 0]

    def travel(self, x: Float[Tensor, "I D"]) -> Float[Tensor, "I D"]:
        """X after all steps on this graph; without modality graphs, x of the items present."""
        if not self.config.modality_graphs:
            return x * self.present[:, None]
        for _ in range(self.config.item_layers):
            x = propagate(self.adjacency.matrix, x)
        return x

    def features_of(
        self, rows: Int[Tensor, " B"], *, ids: Callable[[], Float[Tensor, "I D"]]
    ) -> Float[Tensor, "B D"]:
        """H^m of the given rows; without features the IDs, which `ids` makes, travel instead. Eq. (4)."""
        if self.travelled is None:
            return F.embedding(rows, self.travel(ids()))
        weight, bias = self.projection.weight, self.projection.bias
        return torch.addmm(self.row_sums[rows, None] * bias, F.embedding(rows, self.travelled), weight.T)
