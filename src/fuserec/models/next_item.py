"""What all models of the next item share: item vectors in, an encoder, a softmax over the catalogue.

Shape legend
    I  items   N  any items   W  items with a training interaction   D  width   B  histories   T  events of all of them
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuserec.batch import Corpus, Histories
from fuserec.errors import ConfigError
from fuserec.losses import softmax
from fuserec.models.sequence_scorer import SequenceScorer
from fuserec.nn.encoder import Encoder
from fuserec.nn.item_vectors import IdItems
from fuserec.ops.fusion import unit_or_zero
from fuserec.shapes import Bool, Float, Int

__all__ = ["NextItem", "NextItemById", "Similarity"]

Similarity = Literal["dot", "cosine"]

TEMPERATURE = 0.05
"""Divides cosines at the start of training; learnt from there."""


class NextItem(nn.Module):
    """Predicts every event of a history from those before it; the first from the start alone.

    Args:
        corpus: training interactions.
        encoder: gives user vectors.
        similarity: of a user and an item: their inner product, or their cosine over a learnt temperature.

    Raises:
        ConfigError: the similarity has no sense.
    """

    warm_I: Bool[Tensor, " I"]
    column_I: Int[Tensor, " I"]

    def __init__(self, corpus: Corpus, encoder: Encoder, *, similarity: Similarity = "dot") -> None:
        super().__init__()
        if similarity not in ("dot", "cosine"):
            raise ConfigError(f"similarity must be 'dot' or 'cosine', got {similarity!r}")
        self.encoder = encoder
        self.log_temperature = (
            nn.Parameter(torch.tensor(math.log(TEMPERATURE))) if similarity == "cosine" else None
        )
        warm_I = corpus.popularity() > 0
        self._all_warm = bool(warm_I.all())
        self.register_buffer("warm_I", warm_I, persistent=False)
        self.register_buffer("column_I", warm_I.cumsum(0) - 1, persistent=False)

    def loss(self, item: Float[Tensor, "I D"], batch: Histories) -> Float[Tensor, ""]:
        """The mean over all events of -log p(event | the events before).

        p is a softmax over the items that have a training interaction.

        Args:
            item: (I, D) vectors of all items.
            batch: whole histories, none of them empty.
        """
        if self.log_temperature is not None:
            item = unit_or_zero(item)
        table = torch.cat([item, self.encoder.start[None]])
        # each event is predicted after the one before it, and the first after the start
        rows_T = batch.items.roll(1)
        rows_T[batch.offsets[:-1]] = len(item)
        user_TD = self.encoder(F.embedding(rows_T, table), batch.offsets)
        candidate_WD = item if self._all_warm else item[self.warm_I]
        if self.log_temperature is not None:
            user_TD = unit_or_zero(user_TD) * (-self.log_temperature).exp()
        return softmax(user_TD, candidate_WD, self.column_I[batch.items])

    def served(self, item: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """Vectors of items as a scorer keeps them."""
        return item.detach() if self.log_temperature is None else unit_or_zero(item.detach())

    def scorer(self, item: Float[Tensor, "I D"]) -> SequenceScorer:
        """A copy of the encoder, and of the items' vectors as they are served."""
        scorer = SequenceScorer(item=self.served(item), encoder=self.encoder)
        return SequenceScorer.from_tensors({name: one.clone() for name, one in scorer.tensors().items()})


class NextItemById(nn.Module):
    """A model of the next item that knows items by their rows alone.

    Args:
        corpus: training interactions; content is not used.
        encoder: gives user vectors.
        dim: D.
        similarity: see `NextItem`.
        generator: draws the item vectors.
    """

    def __init__(
        self,
        corpus: Corpus,
        encoder: Encoder,
        *,
        dim: int,
        similarity: Similarity = "dot",
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.item = IdItems(corpus.num_items, dim, generator=generator)
        self.next_item = NextItem(corpus, encoder, similarity=similarity)

    def begin_epoch(self) -> None:
        """Draw the dropout of a new epoch, in training mode."""
        self.train()
        self.next_item.encoder.begin_epoch()

    def losses(self, batch: Histories) -> dict[str, Tensor]:
        """Term ``softmax``."""
        return {"softmax": self.next_item.loss(self.item(), batch)}

    @torch.no_grad()
    def scorer(self) -> SequenceScorer:
        """Items without a training interaction have a zero vector."""
        return self.next_item.scorer(self.item.served(self.next_item.warm_I))
