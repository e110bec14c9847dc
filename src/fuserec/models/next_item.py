"""What all models of the next item share: item vectors in, an encoder, a softmax over the catalogue or a sample of it.

Shape legend
    I  items   N  any items   W  items with a training interaction   R  items that a step uses
    D  width   B  histories   T  events of all of them
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuserec.batch import Corpus, Histories
from fuserec.errors import ConfigError
from fuserec.losses import sampled_softmax, softmax
from fuserec.models.catalogue_loss import negatives_for
from fuserec.models.content_borders import ContentBorders
from fuserec.models.sequence_scorer import SequenceScorer
from fuserec.nn.draws import begin_draws
from fuserec.nn.encoder import Encoder
from fuserec.nn.item_vectors import IdItems
from fuserec.nn.negatives import Negatives
from fuserec.ops.blocks import Blocks
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
        negatives: what stands in for the catalogue in `sampled_loss`; None where that is not asked for.

    Raises:
        ConfigError: the similarity has no sense.
    """

    warm_I: Bool[Tensor, " I"]
    column_I: Int[Tensor, " I"]

    def __init__(
        self,
        corpus: Corpus,
        encoder: Encoder,
        *,
        similarity: Similarity = "dot",
        negatives: Negatives | None = None,
    ) -> None:
        super().__init__()
        if similarity not in ("dot", "cosine"):
            raise ConfigError(f"similarity must be 'dot' or 'cosine', got {similarity!r}")
        self.encoder = encoder
        self.negatives = negatives
        self.log_temperature = (
            nn.Parameter(torch.tensor(math.log(TEMPERATURE))) if similarity == "cosine" else None
        )
        warm_I = corpus.popularity() > 0
        self._all_warm = bool(warm_I.all())
        self.register_buffer("warm_I", warm_I, persistent=False)
        self.register_buffer("column_I", warm_I.cumsum(0) - 1, persistent=False)

    def loss(
        self,
        item: Float[Tensor, "I D"],
        batch: Histories,
        *,
        event: Float[Tensor, "I D"] | None = None,
        borders: ContentBorders | None = None,
    ) -> Float[Tensor, ""]:
        """The mean over all events of -log p(event | the events before).

        p is a softmax over the items that have a training interaction.

        Args:
            item: (I, D) vectors of all items.
            batch: whole histories, none of them empty.
            event: (I, D) vectors that events are read as; None for those of the items.
            borders: of blocks, where they are not every so many events.
        """
        if self.log_temperature is not None:
            item = unit_or_zero(item)
        blocks = None if borders is None else borders.blocks(batch.items.roll(1), batch.offsets)
        user_TD = self._users(item if event is None else event, batch.items, batch.offsets, blocks)
        candidate_WD = item if self._all_warm else item[self.warm_I]
        return softmax(user_TD, candidate_WD, self.column_I[batch.items])

    def sampled_loss(self, items: IdItems, batch: Histories) -> Float[Tensor, ""]:
        """`loss`, with a sample in place of the catalogue: items neither in the batch nor drawn are not touched.

        Args:
            items: vectors of all items.
            batch: whole histories, none of them empty.
        """
        assert self.negatives is not None
        drawn_N, log_expected_N = self.negatives()
        # each item once: what its places in the batch give is summed up here, in a table of the items used
        used_R, places = torch.cat([batch.items, drawn_N]).unique(return_inverse=True)
        event_T, negative_N = places.split([len(batch.items), len(drawn_N)])
        item_RD = items.rows(used_R)
        if self.log_temperature is not None:
            item_RD = unit_or_zero(item_RD)
        return sampled_softmax(
            self._users(item_RD, event_T, batch.offsets),
            F.embedding(event_T, item_RD),
            F.embedding(negative_N, item_RD),
            target=event_T,
            negatives=negative_N,
            log_expected=log_expected_N,
        )

    def _users(
        self,
        item: Float[Tensor, "N D"],
        events: Int[Tensor, " T"],
        offsets: Int[Tensor, " B_plus_1"],
        blocks: Blocks | None = None,
    ) -> Float[Tensor, "T D"]:
        """What predicts each event, a row of ``item``; over the temperature where there is one."""
        table = torch.cat([item, self.encoder.start[None]])
        # each event is predicted after the one before it, and the first after the start
        rows_T = events.roll(1)
        rows_T[offsets[:-1]] = len(item)
        user_TD: Tensor = self.encoder(F.embedding(rows_T, table), offsets, blocks)
        if self.log_temperature is None:
            return user_TD
        return unit_or_zero(user_TD) * (-self.log_temperature).exp()

    def served(
        self,
        item: Float[Tensor, "N D"],
        event: Float[Tensor, "N D"] | None,
        *,
        cold: Bool[Tensor, " N"],
        cold_scale: float,
    ) -> tuple[Float[Tensor, "N D"], Float[Tensor, "N D"] | None]:
        """Vectors of items as a scorer keeps them: as candidates and, where those are others, as events.

        Args:
            item: (N, D) vectors of items.
            event: (N, D) vectors that events are read as; None for those of the items.
            cold: (N,) items without a training interaction.
            cold_scale: of their scores.
        """
        item = item.detach() if self.log_temperature is None else unit_or_zero(item.detach())
        if cold_scale == 1.0:
            return item, event
        # louder as a candidate alone: as an event it is read like any other
        return torch.where(cold[:, None], cold_scale * item, item), item if event is None else event

    def scorer(
        self,
        item: Float[Tensor, "I D"],
        *,
        event: Float[Tensor, "I D"] | None = None,
        borders: ContentBorders | None = None,
        cold_scale: float = 1.0,
    ) -> SequenceScorer:
        """A copy of the encoder, of the items' vectors as they are served, and of what borders are decided from.

        Args:
            item: (I, D) vectors of all items.
            event: (I, D) vectors that events are read as; None for those of the items.
            borders: of blocks, where they are not every so many events.
            cold_scale: of the scores of items without a training interaction.
        """
        item, event = self.served(item, event, cold=~self.warm_I, cold_scale=cold_scale)
        scorer = SequenceScorer(item=item, event=event, encoder=self.encoder, borders=borders)
        return SequenceScorer.from_tensors({name: one.clone() for name, one in scorer.tensors().items()})


class NextItemById(nn.Module):
    """A model of the next item that knows items by their rows alone.

    Args:
        corpus: training interactions; content is not used.
        encoder: gives user vectors.
        dim: D.
        similarity: see `NextItem`.
        negatives: what stands in for the catalogue in training; None for a softmax over all of it.
        generator: draws the item vectors.
    """

    def __init__(
        self,
        corpus: Corpus,
        encoder: Encoder,
        *,
        dim: int,
        similarity: Similarity = "dot",
        negatives: Negatives | None = None,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.item = IdItems(corpus.num_items, dim, generator=generator, sparse=negatives is not None)
        self.next_item = NextItem(corpus, encoder, similarity=similarity, negatives=negatives)

    @classmethod
    def of(
        cls,
        config: Any,
        corpus: Corpus,
        *,
        block: str,
        options: Mapping[str, Any],
        generator: torch.Generator,
    ) -> NextItemById:
        """The model at the start of training, by the options that such models share.

        Args:
            config: with ``dim``, ``num_layers``, ``dropout`` and the options of the loss.
            corpus: training interactions; content is not used.
            block: a name in `fuserec.nn.encoder.BLOCKS`.
            options: of the block.
            generator: draws the initial weights.
        """
        encoder = Encoder(
            block,
            dim=config.dim,
            num_layers=config.num_layers,
            options=options,
            dropout=config.dropout,
            generator=generator,
        )
        negatives = negatives_for(config, corpus, generator=generator)
        return cls(corpus, encoder, dim=config.dim, negatives=negatives, generator=generator)

    def begin_epoch(self) -> None:
        """Draw the dropout and the negatives of a new epoch, in training mode."""
        self.train()
        begin_draws(self)

    def losses(self, batch: Histories) -> dict[str, Tensor]:
        """Term ``softmax``."""
        if self.next_item.negatives is None:
            return {"softmax": self.next_item.loss(self.item(), batch)}
        return {"softmax": self.next_item.sampled_loss(self.item, batch)}

    @torch.no_grad()
    def scorer(self) -> SequenceScorer:
        """Items without a training interaction have a zero vector."""
        return self.next_item.scorer(self.item.served(self.next_item.warm_I))
