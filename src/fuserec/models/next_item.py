"""What all models of the next item share: item vectors in, an encoder, a softmax over the catalogue.

Shape legend
    I  items   W  items with a training interaction   D  width   B  histories   T  events of all of them
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuserec.batch import Corpus, Histories
from fuserec.models.sequence_scorer import SequenceScorer
from fuserec.nn.encoder import Encoder
from fuserec.shapes import Bool, Int

__all__ = ["NextItem"]


class NextItem(nn.Module):
    """Predicts every event of a history from those before it; the first from the start alone.

    Args:
        corpus: training interactions.
        encoder: gives user vectors; its first one of a history is what predicts the first event.
        generator: draws the item vectors.
    """

    warm_I: Bool[Tensor, " I"]
    column_I: Int[Tensor, " I"]

    def __init__(self, corpus: Corpus, encoder: Encoder, *, dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.encoder = encoder
        self.item = nn.Parameter(
            torch.empty(corpus.num_items, dim).normal_(std=0.02, generator=generator)
        )
        warm_I = corpus.popularity() > 0
        self.register_buffer("warm_I", warm_I, persistent=False)
        self.register_buffer("column_I", warm_I.cumsum(0) - 1, persistent=False)

    def begin_epoch(self) -> None:
        """Draw the dropout of a new epoch, in training mode."""
        self.train()
        self.encoder.begin_epoch()

    def losses(self, batch: Histories) -> dict[str, Tensor]:
        """Term ``softmax``: the mean over all events of -log p(event | the events before)."""
        item_ID = self.item
        table = torch.cat([item_ID, self.encoder.start[None]])
        rows_T = batch.items.roll(1)
        rows_T[batch.offsets[:-1]] = len(item_ID)
        user_TD = self.encoder(F.embedding(rows_T, table), batch.offsets)
        loss = F.cross_entropy(user_TD @ item_ID[self.warm_I].T, self.column_I[batch.items])
        return {"softmax": loss}

    @torch.no_grad()
    def scorer(self) -> SequenceScorer:
        """Item vectors, zero for items without a training interaction, and a copy of the encoder."""
        item_ID = torch.where(self.warm_I[:, None], self.item, 0.0)
        scorer = SequenceScorer(item=item_ID, encoder=self.encoder)
        return SequenceScorer.from_tensors({name: one.clone() for name, one in scorer.tensors().items()})
