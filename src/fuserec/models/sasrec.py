"""SASRec, as strong as it gets: a causal transformer over whole histories, softmax over the whole catalogue.

"Self-Attentive Sequential Recommendation", W.-C. Kang, J. McAuley. ICDM 2018, arXiv 1808.09781.

Departures from the paper (docs/papers/sasrec.md): softmax over the catalogue in place of one sampled negative; whole
histories in place of the last n events, so rotary positions in place of a table; normalisation before each branch, also
for keys and values; a feed-forward four times as wide, with GELU; a start vector before each history.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from fuserec.added import ADDED
from fuserec.batch import Corpus
from fuserec.models.catalogue_loss import Loss, check_next_item
from fuserec.models.next_item import NextItemById
from fuserec.nn.negatives import Law

__all__ = ["SasrecConfig", "sasrec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SasrecConfig:
    """Options of SASRec."""

    dim: int = 64
    """Width D, at least 1 (paper: 50)."""
    num_layers: int = 2
    """Blocks, at least 1 (paper: 2)."""
    heads: int = 2
    """Heads of the attention; D must be a multiple of twice their number (paper: 1)."""
    dropout: float = 0.2
    """Share of values dropped, from 0 to below 1 (paper: 0.2 on MovieLens-1M)."""
    loss: Loss = field(default="softmax", metadata=ADDED)
    """"softmax" over all items with a training interaction, or "sampled": over the next item and a sample of them."""
    num_negatives: int = field(default=256, metadata=ADDED)
    """Items that a step draws where the loss is sampled, at least 1."""
    negatives: Law = field(default="uniform", metadata=ADDED)
    """How they are drawn: "uniform", or by "popularity" to the power .75; either is corrected for."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_next_item(self)


def sasrec(config: SasrecConfig, corpus: Corpus, *, generator: torch.Generator) -> NextItemById:
    """The model at the start of training.

    Args:
        config: options.
        corpus: training interactions; content is not used.
        generator: draws the initial weights.
    """
    options = {"heads": config.heads, "hidden": 4 * config.dim}
    return NextItemById.of(config, corpus, block="transformer", options=options, generator=generator)
