"""HSTU on whole histories, with a softmax over the whole catalogue.

"Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative Recommendations", J. Zhai et al.
ICML 2024, arXiv 2402.17152.

Departures from the paper (docs/papers/hstu.md): softmax over the whole catalogue in place of a sampled one; whole histories;
relative bias by distance, without one by time; a start vector before each history.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from fuserec.added import ADDED
from fuserec.batch import Corpus
from fuserec.models.catalogue_loss import Loss, check_next_item
from fuserec.models.next_item import NextItemById
from fuserec.nn.negatives import Law

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
    loss: Loss = field(default="softmax", metadata=ADDED)
    """"softmax" over all items with a training interaction, or "sampled": over the next item and a sample of them."""
    num_negatives: int = field(default=256, metadata=ADDED)
    """Items that a step draws where the loss is sampled, at least 1."""
    negatives: Law = field(default="uniform", metadata=ADDED)
    """How they are drawn: "uniform", or by "popularity" to the power .75; either is corrected for."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_next_item(self)


def hstu(config: HstuConfig, corpus: Corpus, *, generator: torch.Generator) -> NextItemById:
    """The model at the start of training.

    Args:
        config: options.
        corpus: training interactions; content is not used.
        generator: draws the initial weights.
    """
    options = {"heads": config.heads}
    return NextItemById.of(config, corpus, block="hstu", options=options, generator=generator)
