"""HSTU on whole histories, with a softmax over the whole catalogue.

"Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative Recommendations", J. Zhai et al.
ICML 2024, arXiv 2402.17152.

Departures from the paper (docs/papers/hstu.md): softmax over the whole catalogue in place of a sampled one; whole histories;
relative bias by distance, without one by time; a start vector before each history.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fuserec.batch import Corpus
from fuserec.errors import ConfigError
from fuserec.models.next_item import NextItemById
from fuserec.nn.encoder import Encoder

__all__ = ["HstuConfig", "hstu"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HstuConfig:
    """Options of HSTU."""

    dim: int = 64
    """Width D, at least 1."""
    num_layers: int = 2
    """Blocks, at least 1."""
    heads: int = 2
    """Heads of the attention; D must be a multiple of their number."""
    dropout: float = 0.2
    """Share of values dropped, from 0 to below 1."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.dim < 1:
            raise ConfigError(f"dim must be at least 1, got {self.dim}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be from 0 to below 1, got {self.dropout}")


def hstu(config: HstuConfig, corpus: Corpus, *, generator: torch.Generator) -> NextItemById:
    """The model at the start of training.

    Args:
        config: options.
        corpus: training interactions; content is not used.
        generator: draws the initial weights.
    """
    encoder = Encoder(
        "hstu",
        dim=config.dim,
        num_layers=config.num_layers,
        options={"heads": config.heads},
        dropout=config.dropout,
        generator=generator,
    )
    return NextItemById(corpus, encoder, dim=config.dim, generator=generator)
