"""eSASRec on whole histories, with a softmax over the whole catalogue.

"eSASRec: Enhancing Transformer-based Recommendations in a Modular Fashion", D. Tikhonovich et al. RecSys 2025, arXiv
2508.06450; its LiGR blocks are those of "From Features to Transformers: Redefining Ranking for Scalable Impact", F. Borisyuk
et al. arXiv 2502.03417.

Departures from the paper (docs/papers/esasrec.md): softmax over the whole catalogue in place of a sampled one, which on a
small catalogue costs less and is exact; whole histories, so rotary positions in place of a table; a start vector before
each history.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fuserec.batch import Corpus
from fuserec.errors import ConfigError
from fuserec.models.next_item import NextItemById
from fuserec.nn.encoder import Encoder

__all__ = ["EsasrecConfig", "esasrec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EsasrecConfig:
    """Options of eSASRec."""

    dim: int = 64
    """Width D, at least 1."""
    num_layers: int = 2
    """Blocks, at least 1."""
    heads: int = 2
    """Heads of the attention; D must be a multiple of twice their number."""
    dropout: float = 0.2
    """Share of values dropped, from 0 to below 1."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.dim < 1:
            raise ConfigError(f"dim must be at least 1, got {self.dim}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be from 0 to below 1, got {self.dropout}")


def esasrec(config: EsasrecConfig, corpus: Corpus, *, generator: torch.Generator) -> NextItemById:
    """The model at the start of training.

    Args:
        config: options.
        corpus: training interactions; content is not used.
        generator: draws the initial weights.
    """
    encoder = Encoder(
        "ligr",
        dim=config.dim,
        num_layers=config.num_layers,
        options={"heads": config.heads, "hidden": 4 * config.dim},
        dropout=config.dropout,
        generator=generator,
    )
    return NextItemById(corpus, encoder, dim=config.dim, generator=generator)
