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
from fuserec.losses import bpr
from fuserec.models.two_tower import TwoTower
from fuserec.nn import Collaborative

__all__ = ["LightGcn", "LightGcnConfig"]


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
        self.collaborative = Collaborative(
            corpus, dim=config.dim, num_layers=config.num_layers, generator=generator
        )

    def begin_epoch(self) -> None:
        """Nothing is built once an epoch."""

    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        """Terms ``bpr`` and ``l2``."""
        user_UD, item_ID = self.collaborative()
        items = torch.cat([batch.positives, batch.negatives])
        user_BD = F.embedding(batch.users, user_UD)
        positive_BD, negative_BD = F.embedding(items, item_ID).chunk(2)
        return {
            "bpr": bpr((user_BD * positive_BD).sum(1), (user_BD * negative_BD).sum(1)),
            "l2": self.collaborative.l2(batch.users, items),
        }

    @torch.no_grad()
    def scorer(self) -> TwoTower:
        """Both towers, and the fold-in of new users."""
        user_UD, item_ID = self.collaborative()
        warm_I = self.collaborative.warm_I
        return TwoTower(
            user=user_UD,
            item=torch.where(warm_I[:, None], item_ID, 0.0),
            fold=self.collaborative.fold(),
            foldable=warm_I,
        )
