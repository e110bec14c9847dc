"""What interactions alone say: embeddings by ID, propagated between users and items.

Shape legend
    U  users   I  items   D  width   B  users of a batch   C  items of a batch
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuserec.batch import Corpus
from fuserec.losses import embedding_l2
from fuserec.nn.frozen_graph import FrozenGraph
from fuserec.nn.linear import xavier_uniform
from fuserec.ops.graph import SparseMatrix, bipartite_graph, layer_mean
from fuserec.shapes import Bool, Float, Int

__all__ = ["Collaborative"]


class Collaborative(nn.Module):
    """Layer-0 embeddings of users and items, and the mean of their layers.

    Paper: LightGCN Eq. (7) and (8) with weights 1 / (L + 1); TMFUN Eq. (5).

    Args:
        corpus: training interactions.
        dim: D.
        num_layers: L, propagation steps, at least 0.
        generator: draws the embeddings, users first.
    """

    def __init__(self, corpus: Corpus, *, dim: int, num_layers: int, generator: torch.Generator) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.graph = FrozenGraph(
            bipartite_graph(
                corpus.train.users, corpus.train.items, num_users=corpus.num_users, num_items=corpus.num_items
            )
        )
        degree_I = self.graph.matrix.column_counts()
        self.register_buffer("degree_I", degree_I, persistent=False)
        self.register_buffer("cold", torch.nonzero(degree_I == 0).squeeze(1), persistent=False)
        self.user = xavier_uniform(corpus.num_users, dim, generator=generator)
        self.item = xavier_uniform(corpus.num_items, dim, generator=generator)

    degree_I: Int[Tensor, " I"]
    cold: Int[Tensor, " _"]

    @property
    def warm_I(self) -> Bool[Tensor, " I"]:
        """(I,) items with a training interaction."""
        return self.degree_I > 0

    def forward(self, graph: SparseMatrix | None = None) -> tuple[Float[Tensor, "U D"], Float[Tensor, "I D"]]:
        """Z_U and Z_I, the mean of the layers, on the whole graph or on a part of it that an epoch has drawn."""
        return layer_mean(
            self.graph.matrix if graph is None else graph, self.user, self.item, num_layers=self.num_layers
        )

    def without_cold(self, x: Float[Tensor, "I D"]) -> Float[Tensor, "I D"]:
        """X, zero for items without a training interaction: nothing ever trained them."""
        return x.index_fill(0, self.cold, 0.0)

    def l2(self, users: Int[Tensor, " B"], items: Int[Tensor, " C"]) -> Float[Tensor, ""]:
        """The penalty on the layer-0 embeddings that a batch touched."""
        return embedding_l2(F.embedding(users, self.user), F.embedding(items, self.item))

    def fold(self) -> Float[Tensor, "I D"]:
        """What one item of a history gives to a new user, before the division by sqrt(n_u).

        Paper: TMFUN, part 2, "New users": sum over l = 1..L of Z_I^(l-1) / sqrt(d_i) / (L + 1), where d_i counts
        the item's distinct users, as the graph does. Zero for items without a training interaction (d_i = 0).
        """
        user: Tensor = self.user
        item: Tensor = self.item
        matrix, total_ID = self.graph.matrix, torch.zeros_like(item)
        for _ in range(self.num_layers):
            total_ID = total_ID + item
            user, item = matrix.forward @ item, matrix.backward @ user
        root_I = self.degree_I.clamp_min(1).sqrt()
        return torch.where(self.warm_I[:, None], total_ID / (root_I[:, None] * (self.num_layers + 1)), 0.0)
