"""BPR-MF: matrix factorisation that ranks what a user had above what the user had not.

"BPR: Bayesian Personalized Ranking from Implicit Feedback", S. Rendle, C. Freudenthaler, Z. Gantner,
L. Schmidt-Thieme. UAI 2009, arXiv 1205.2618.

Departures from the paper: Adam on shuffled batches of all pairs in place of single steps on pairs drawn with
replacement; one weight for the penalty, which is on the squared embeddings of the batch, per pair; items without a
training interaction keep a zero vector, since their embedding was never trained. The paper serves no user unseen
in training: `BprMf.fold` is ours.

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
from fuserec.ops.graph import propagate
from fuserec.shapes import Float

__all__ = ["BprMf", "BprMfConfig"]

NO_DIRECTION = 1e-9
"""Directions of the folded vectors whose variance is below this share of the largest are not fitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BprMfConfig:
    """Options of BPR-MF."""

    dim: int = 64
    """Width of the embeddings, at least 1 (ours, as in the graph models; paper: 8 to 128)."""

    def __post_init__(self) -> None:
        """Check the range."""
        if self.dim < 1:
            raise ConfigError(f"dim must be at least 1, got {self.dim}")


class BprMf(nn.Module):
    """Paper: BPR-Opt (section 4.1) with the matrix factorisation of section 4.3.1.

    Args:
        config: options.
        corpus: training interactions; content is not used.
        generator: draws the initial embeddings.
    """

    def __init__(self, config: BprMfConfig, corpus: Corpus, *, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        # without layers: its embeddings are W and H of the paper, its graph says who had what
        self.collaborative = Collaborative(corpus, dim=config.dim, num_layers=0, generator=generator)

    def begin_epoch(self) -> None:
        """Nothing is built once an epoch."""

    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        """Terms ``bpr`` and ``l2``: the two of BPR-Opt."""
        items = torch.cat([batch.positives, batch.negatives])
        user_BD = F.embedding(batch.users, self.collaborative.user)
        positive_BD, negative_BD = F.embedding(items, self.collaborative.item).chunk(2)
        return {
            "bpr": bpr((user_BD * positive_BD).sum(1), (user_BD * negative_BD).sum(1)),
            "l2": self.collaborative.l2(batch.users, items),
        }

    @torch.no_grad()
    def fold(self) -> Float[Tensor, "I D"]:
        """What one item of a history gives to a new user, before the division by sqrt(n_u). Ours.

        Nothing ties a trained user's vector to the items' but the training itself, so the tie is read off the
        trained users: x_u = sum over the items i of u of h_i / sqrt(n_u), and A = argmin sum over u of
        |w_u - x_u A|^2, the shortest such A. An item gives h_i A; one without a training interaction gives zero.
        """
        user_UD, item_ID = self.collaborative.user.double(), self.collaborative.item.double()
        # the graph divides by sqrt(n_u d_i), so the root of d_i goes in first
        root_I1 = self.collaborative.degree_I.sqrt()[:, None]
        x_UD = propagate(self.collaborative.graph.matrix, root_I1 * self.collaborative.item).double()
        inverse_DD = torch.linalg.pinv(x_UD.T @ x_UD, rtol=NO_DIRECTION, hermitian=True)
        fold_ID = (item_ID @ (inverse_DD @ (x_UD.T @ user_UD))).to(self.collaborative.item.dtype)
        return torch.where(self.collaborative.warm_I[:, None], fold_ID, 0.0)

    @torch.no_grad()
    def scorer(self) -> TwoTower:
        """Both tables, and the fold-in of new users."""
        warm_I = self.collaborative.warm_I
        return TwoTower(
            user=self.collaborative.user.detach().clone(),
            item=torch.where(warm_I[:, None], self.collaborative.item, 0.0),
            fold=self.fold(),
            foldable=warm_I,
        )
