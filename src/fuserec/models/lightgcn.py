"""LightGCN: propagation of ID embeddings on the user-item graph.

"LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation", X. He, K. Deng,
X. Wang, Y. Li, Y. Zhang, M. Wang. SIGIR 2020, arXiv 2002.02126v4.

Departures from the paper: the penalty is on the squared layer-0 embeddings of the batch, per pair, without
the factor 1/2 (as in TMFUN Eq. (10), so that both share their recipes' scale). Items without a training
interaction keep a zero vector: their embedding was never trained.

Shape legend
    U  users   I  items   D  width   B  batch
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuserec.batch import Corpus, PairBatch
from fuserec.errors import ConfigError
from fuserec.losses import bpr, embedding_l2
from fuserec.models.two_tower import TwoTower
from fuserec.nn import FrozenGraph
from fuserec.ops.graph import SparseMatrix, bipartite_graph, layer_mean
from fuserec.shapes import Float, Int

__all__ = ["LightGcn", "LightGcnConfig", "embedding_table", "fold_table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LightGcnConfig:
    """Options of LightGCN."""

    dim: int = 64
    """Width of the embeddings, at least 1 (paper: 64)."""
    num_layers: int = 2
    """Propagation steps L, at least 0 (paper: 1 to 4)."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.dim < 1:
            raise ConfigError(f"dim must be at least 1, got {self.dim}")
        if self.num_layers < 0:
            raise ConfigError(f"num_layers must be at least 0, got {self.num_layers}")


class LightGcn(nn.Module):
    """Paper: Eq. (7) and (8) with layer weights 1 / (L + 1).

    Args:
        config: options.
        corpus: training interactions; content is not used.
        generator: draws the initial embeddings.
    """

    def __init__(self, config: LightGcnConfig, corpus: Corpus, *, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.num_users, self.num_items = corpus.num_users, corpus.num_items
        self.user_item = FrozenGraph(
            bipartite_graph(
                corpus.train.users, corpus.train.items, num_users=corpus.num_users, num_items=corpus.num_items
            )
        )
        self.register_buffer("degree_I", self.user_item.matrix.column_counts(), persistent=False)
        self.user_embedding = embedding_table(corpus.num_users, config.dim, generator=generator)
        self.item_embedding = embedding_table(corpus.num_items, config.dim, generator=generator)

    degree_I: Int[Tensor, " I"]

    def begin_epoch(self) -> None:
        """Nothing is built once an epoch."""

    def collaborative(self) -> tuple[Float[Tensor, "U D"], Float[Tensor, "I D"]]:
        """Users and items after propagation, the mean of the layers."""
        return layer_mean(
            self.user_item.matrix,
            self.user_embedding,
            self.item_embedding,
            num_layers=self.config.num_layers,
        )

    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        """Terms ``bpr`` and ``l2``."""
        user_UD, item_ID = self.collaborative()
        items = torch.cat([batch.positives, batch.negatives])
        user_BD = F.embedding(batch.users, user_UD)
        positive_BD, negative_BD = F.embedding(items, item_ID).chunk(2)
        return {
            "bpr": bpr((user_BD * positive_BD).sum(1), (user_BD * negative_BD).sum(1)),
            "l2": embedding_l2(
                F.embedding(batch.users, self.user_embedding), F.embedding(items, self.item_embedding)
            ),
        }

    @torch.no_grad()
    def scorer(self) -> TwoTower:
        """Both towers, and the fold-in of new users."""
        user_UD, item_ID = self.collaborative()
        warm_I = self.degree_I > 0
        return TwoTower(
            user=user_UD,
            item=torch.where(warm_I[:, None], item_ID, 0.0),
            fold=fold_table(
                self.user_item.matrix,
                self.user_embedding,
                self.item_embedding,
                self.degree_I,
                num_layers=self.config.num_layers,
            ),
            foldable=warm_I,
        )


def embedding_table(rows: int, dim: int, *, generator: torch.Generator) -> nn.Parameter:
    """(rows, dim) layer-0 embeddings, Xavier uniform."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, dim), generator=generator))


def fold_table(
    matrix: SparseMatrix,
    user: Float[Tensor, "U D"],
    item: Float[Tensor, "I D"],
    degree: Int[Tensor, " I"],
    *,
    num_layers: int,
) -> Float[Tensor, "I D"]:
    """What one item of a history gives to a new user, before the division by sqrt(n_u).

    Paper: TMFUN, part 2, "New users": sum over l = 1..L of Z_I^(l-1) / sqrt(d_i) / (L + 1), where d_i counts the
    item's distinct users, as the graph does. Zero for items without a training interaction (d_i = 0).
    """
    total_ID = torch.zeros_like(item)
    for _ in range(num_layers):
        total_ID = total_ID + item
        user, item = matrix.forward @ item, matrix.backward @ user
    root_I = degree.clamp_min(1).sqrt()
    return torch.where(degree[:, None] > 0, total_ID / (root_I[:, None] * (num_layers + 1)), 0.0)
