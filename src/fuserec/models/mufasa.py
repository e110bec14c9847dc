"""MUFASA: titles anchor what items are, sparse attention reads what users did.

"Multimodal Fusion And Sparse Attention-based Alignment Model for Long Sequential Recommendation", Y. Fu, J. Liu, T. Li,
Z. Wu, S. Qin, H. Liu. arXiv 2508.09664, August 2025. The full text was not available to us: docs/papers/mufasa.md says
what the paper states and what is ours.

Training has two stages. Batches of items train the fusion layer by its four losses; then its vectors f stand still and
whole histories train the alignment layer. With ``joint`` the layer is trained on in the second stage.

Shape legend
    I  items   N  items that came later   D  width of user and item vectors   F  width of the fused space
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fuserec.batch import Corpus, Histories, ItemBatch, Modality, StagePlan
from fuserec.errors import ConfigError
from fuserec.models.catalogue_loss import negatives_for
from fuserec.models.content_borders import ContentBorders
from fuserec.models.mufasa_config import MufasaConfig
from fuserec.models.mufasa_content import item_content
from fuserec.models.mufasa_fusion import MufasaFusion
from fuserec.models.next_item import NextItem
from fuserec.models.sequence_scorer import SequenceScorer
from fuserec.nn.draws import begin_draws
from fuserec.nn.encoder import Encoder
from fuserec.nn.item_vectors import ItemVectors
from fuserec.shapes import Float

__all__ = ["Mufasa", "mufasa_stages"]


class Mufasa(nn.Module):
    """Paper: MUFASA, as docs/papers/mufasa.md has it.

    Args:
        config: options.
        corpus: training interactions and content.
        generator: draws all initial weights.

    Raises:
        ConfigError: an option does not fit the data or another option.
        DataError: an item has no title.
    """

    def __init__(self, config: MufasaConfig, corpus: Corpus, *, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        encoder = _encoder(config, generator)
        negatives = negatives_for(config, corpus, generator=generator)
        self.next_item = NextItem(corpus, encoder, similarity=config.similarity, negatives=negatives)
        self.layer = None if config.items == "id" else MufasaFusion(config, corpus, generator=generator)

        def vectors() -> ItemVectors:
            return ItemVectors(
                None if config.items == "id" else config.fusion_dim,
                corpus.num_items,
                config.dim,
                dropout=None if config.items == "content" else config.id_dropout,
                sparse=negatives is not None,
                generator=generator,
            )

        self.item = vectors()
        # as events are read; the same where they are tied
        self.event = None if config.tied else vectors()

    def begin_epoch(self) -> None:
        """Draw the dropout and the negatives of a new epoch, in training mode."""
        self.train()
        begin_draws(self)

    def losses(self, batch: ItemBatch | Histories) -> dict[str, Tensor]:
        """Of items, terms ``alignment``, ``collaborative``, ``structure`` and those of ``spread``; of histories ``softmax``.

        With ``joint``, histories have all of them, those of items over the items that occur in the batch.
        """
        if isinstance(batch, ItemBatch):
            assert self.layer is not None
            return self.layer.losses(batch.items)
        if self.next_item.negatives is not None:
            assert self.item.ids is not None
            return {"softmax": self.next_item.sampled_loss(self.item.ids, batch)}
        if self.layer is None or not self.config.joint:
            return {"softmax": self._softmax(batch, self._still())}
        everything = torch.arange(len(self.layer.known), device=batch.items.device)
        softmax = self._softmax(batch, self.layer.fusion(everything).fused)
        return {"softmax": softmax, **self.layer.losses(batch.items.unique())}

    @torch.no_grad()
    def scorer(self) -> SequenceScorer:
        """Items without a training interaction are served by content alone, or by a zero vector where there is none."""
        f, warm_I = self._still(), self.next_item.warm_I
        event = None if self.event is None else self.event.served(f, warm_I)
        return self.next_item.scorer(
            self.item.served(f, warm_I),
            event=event,
            borders=self._borders(f),
            cold_scale=self.config.cold_scale,
        )

    def diagnostics(self) -> dict[str, float]:
        """What the fusion layer has made, see `fuserec.metrics.space.space_diagnostics`; nothing where there is none."""
        return {} if self.layer is None else self.layer.diagnostics()

    @torch.no_grad()
    def content_rows(self, modalities: tuple[Modality, ...]) -> dict[str, Tensor]:
        """Rows of items that the catalogue need not know, by their content alone.

        Args:
            modalities: their titles, other modalities and genres, of the widths that training saw.

        Returns:
            What those tensors of `scorer` go on with that have a row an item: ``item`` (N, D); where events are read as
            other vectors, ``event`` (N, D); with borders by content, ``border`` (N, F).

        Raises:
            ConfigError: the model knows items by their IDs alone.
            DataError: an item has no title, or content is missing or of another width.
        """
        if self.layer is None:
            raise ConfigError(
                "expected a model that knows items by content, got items = 'id'; train one with items = 'both'"
            )
        content = item_content(modalities, self.config)
        f = self.layer.fusion.fuse_all(content).fused
        own = None if self.event is None else self.event.of_content(f)
        item, event = self.next_item.served(
            self.item.of_content(f),
            own,
            cold=torch.ones(len(f), dtype=torch.bool, device=f.device),
            cold_scale=self.config.cold_scale,
        )
        rows = {"item": item} if event is None else {"item": item, "event": event}
        if self.config.borders == "content":
            rows["border"] = f
        return rows

    def _softmax(self, batch: Histories, f: Float[Tensor, "I F"] | None) -> Float[Tensor, ""]:
        event = None if self.event is None else self.event(f)
        return self.next_item.loss(self.item(f), batch, event=event, borders=self._borders(f))

    def _still(self) -> Float[Tensor, "I F"] | None:
        return None if self.layer is None else self.layer.frozen()

    def _borders(self, f: Float[Tensor, "I F"] | None) -> ContentBorders | None:
        if f is None or self.config.borders == "fixed":
            return None
        return ContentBorders(content=f.detach(), below=self.config.border_below, block=self.config.block)


def mufasa_stages(config: MufasaConfig) -> tuple[StagePlan, ...]:
    """Items first, where there is content; then histories."""
    if config.items == "id":
        return (StagePlan(batches="histories"),)
    of_items = frozenset({"alignment", "collaborative", "structure", *config.spread})
    return (
        StagePlan(
            batches="items",
            epochs=config.fusion_epochs,
            batch_size=config.fusion_batch,
            terms=of_items,
            evaluated=False,
        ),
        StagePlan(
            batches="histories", terms=frozenset({"softmax"}) | (of_items if config.joint else frozenset())
        ),
    )


def _encoder(config: MufasaConfig, generator: torch.Generator) -> Encoder:
    block, options = "sparse", dict[str, Any]()
    if config.attention == "dense" and config.gated_residual:
        block, options = "ligr", {"heads": config.heads, "hidden": 8 * config.dim // 3}
    elif config.attention == "dense":
        block, options = "transformer", {"heads": config.heads, "hidden": 4 * config.dim}
    else:
        options = {
            "heads": config.heads,
            "window": config.window,
            "block": config.block,
            "selected": config.selected,
            "group": config.group,
            "branches": list(config.branches),
            "gated": config.gated,
            "learnt_pooling": config.learnt_pooling,
            "evolution": config.evolution,
            "gated_residual": config.gated_residual,
            "gated_feed_forward": config.gated_feed_forward,
        }
    return Encoder(
        block,
        dim=config.dim,
        num_layers=config.num_layers,
        options=options,
        dropout=config.dropout,
        generator=generator,
    )
