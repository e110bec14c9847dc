"""EASE: the linear autoencoder over items that has a closed form.

H. Steck, "Embarrassingly Shallow Autoencoders for Sparse Data" (WWW 2019), arXiv 1905.03375. No departures; users
with an item twice count once.

Shape legend
    I  items
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fuserec.batch import Corpus
from fuserec.errors import ConfigError
from fuserec.models.item_to_item import ItemToItem
from fuserec.ops.cooccurrence import cooccurrence_blocks
from fuserec.shapes import Float

__all__ = ["Ease", "EaseConfig", "ease_weights"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EaseConfig:
    """Options of EASE."""

    regularisation: float = 200.0
    """Weight of the squared norm, above 0 (paper: lambda). The default is validation's choice on Amazon Baby, split_mmrec
    (docs/lab.md); anything from 200 to 800 is nearly as good there."""
    max_items: int = 20_000
    """Largest catalogue, at least 1: fitting holds up to 4.4 dense I x I matrices of float32 (measured), 7 GB at the
    default."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not self.regularisation > 0:
            raise ConfigError(f"expected regularisation above 0, got {self.regularisation}")
        if self.max_items < 1:
            raise ConfigError(f"expected max_items of at least 1, got {self.max_items}")


class Ease:
    """score of j = sum over i in the history of K_ij, K = argmin |X - X K|^2 + lambda |K|^2 with diag K = 0."""

    def __init__(self, config: EaseConfig) -> None:
        self.config = config

    def fit(self, corpus: Corpus) -> ItemToItem:
        """Solve for K.

        Raises:
            ConfigError: the catalogue is larger than ``max_items``, or the regularisation is too small to solve for K.
        """
        weights = ease_weights(corpus, self.config.regularisation, max_items=self.config.max_items)
        return ItemToItem(weights)


def ease_weights(corpus: Corpus, regularisation: float, *, max_items: int) -> Float[Tensor, "I I"]:
    """K = I - P diag(1 / diag P), P = (X^T X + lambda I)^-1, dense float32.

    Paper: Eq. (8). Float32 is enough: on Amazon Baby (I = 7,050) K differs from the float64 one by at most 5e-7 at
    lambda 1 and 5e-8 at lambda 200, the top 20 of 4,000 users are the same, and the solution takes a third of the time.

    Args:
        corpus: its training pairs are used.
        regularisation: lambda, above 0.
        max_items: a larger catalogue is refused.

    Raises:
        ConfigError: the catalogue is larger than ``max_items``, or lambda is too small for float32.
    """
    num_items = corpus.num_items
    if num_items > max_items:
        raise ConfigError(
            f"expected at most max_items = {max_items} items for a dense solution, got {num_items} "
            f"({4.4 * 4 * num_items**2 / 1e9:.1f} GB); raise max_items or use item_knn"
        )
    gram_II = torch.empty(num_items, num_items)
    for block, counts in cooccurrence_blocks(corpus.train, num_users=corpus.num_users, num_items=num_items):
        gram_II[block] = counts
    gram_II.diagonal().add_(regularisation)
    root_II, failed = torch.linalg.cholesky_ex(gram_II)
    if failed:
        raise ConfigError(
            f"expected a regularisation large enough to factor the Gram matrix in float32, got {regularisation}; raise it"
        )
    del gram_II
    inverse_II = torch.cholesky_inverse(root_II)
    weights_II = (inverse_II / -inverse_II.diagonal()).contiguous()  # LAPACK's matrix lies column by column
    return weights_II.fill_diagonal_(0)
