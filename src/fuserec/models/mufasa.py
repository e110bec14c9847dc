"""MUFASA: titles anchor what items are, sparse attention reads what users did.

"Multimodal Fusion And Sparse Attention-based Alignment Model for Long Sequential Recommendation", Y. Fu, J. Liu, T. Li,
Z. Wu, S. Qin, H. Liu. arXiv 2508.09664, August 2025. The full text was not available to us: docs/papers/mufasa.md says
what the paper states and what is ours.

Training has two stages. Batches of items train the fusion layer by its four losses; then its vectors f stand still and
whole histories train the alignment layer. With ``joint`` the layer is trained on in the second stage.

Shape legend
    I  items   N  items that came later   B  items of a batch
    C  width of the collaborative space   D  width of user and item vectors   F  width of the fused space
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from fuserec.batch import Corpus, Histories, ItemBatch, Modality, StagePlan
from fuserec.errors import ConfigError, nearest
from fuserec.losses import collaborative_alignment, structure, title_alignment, uniformity
from fuserec.metrics.space import space_diagnostics
from fuserec.models.catalogue_loss import negatives_for
from fuserec.models.collaborative_space import collaborative_space
from fuserec.models.content_borders import ContentBorders
from fuserec.models.mufasa_config import MufasaConfig
from fuserec.models.next_item import NextItem
from fuserec.models.sequence_scorer import SequenceScorer
from fuserec.nn import xavier_uniform
from fuserec.nn.encoder import Encoder
from fuserec.nn.item_content import ItemContent
from fuserec.nn.item_vectors import ContentItems, IdItems
from fuserec.nn.modality_fusion import Fused, FusionLayer
from fuserec.shapes import Bool, Float, Int

__all__ = ["Mufasa", "content_names", "item_content", "mufasa_stages"]

FUSION_TERMS = frozenset({"alignment", "collaborative", "structure", "uniformity"})


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
        self.item: IdItems | ContentItems
        self.layer: _Layer | None = None
        if config.items == "id":
            self.item = IdItems(
                corpus.num_items, config.dim, generator=generator, sparse=negatives is not None
            )
            return
        self.layer = _Layer(config, corpus, generator=generator)
        self.item = ContentItems(
            config.fusion_dim,
            corpus.num_items,
            config.dim,
            dropout=config.id_dropout if config.items == "both" else None,
            generator=generator,
        )

    def begin_epoch(self) -> None:
        """Draw the dropout and the negatives of a new epoch, in training mode."""
        self.train()
        self.next_item.begin_epoch()
        if isinstance(self.item, ContentItems) and self.item.dropout is not None:
            self.item.dropout.begin_epoch()

    def losses(self, batch: ItemBatch | Histories) -> dict[str, Tensor]:
        """Of items, terms ``alignment``, ``collaborative``, ``structure`` and ``uniformity``; of histories ``softmax``.

        With ``joint``, histories have all of them, the first four over the items that occur in the batch.
        """
        if isinstance(batch, ItemBatch):
            assert self.layer is not None
            self.layer.moves()
            return self.layer.losses(batch.items, self.layer.fusion(batch.items))
        if isinstance(self.item, IdItems):
            return {"softmax": self.next_item.loss_by_id(self.item, batch)}
        assert self.layer is not None
        if not self.config.joint:
            f = self.layer.frozen()
            return {"softmax": self.next_item.loss(self.item(f), batch, self._borders(f))}
        self.layer.moves()
        everything = torch.arange(len(self.layer.known), device=batch.items.device)
        f = self.layer.fusion(everything).fused
        softmax = self.next_item.loss(self.item(f), batch, self._borders(f))
        occurring = batch.items.unique()
        return {"softmax": softmax, **self.layer.losses(occurring, self.layer.fusion(occurring))}

    @torch.no_grad()
    def scorer(self) -> SequenceScorer:
        """Items without a training interaction are served by content alone, or by a zero vector where there is none."""
        warm_I = self.next_item.warm_I
        if isinstance(self.item, IdItems):
            return self.next_item.scorer(self.item.served(warm_I))
        assert self.layer is not None
        f = self.layer.frozen()
        return self.next_item.scorer(self.item.served(f, warm_I), self._borders(f))

    def diagnostics(self) -> dict[str, float]:
        """What the fusion layer has made, see `fuserec.metrics.space.space_diagnostics`; nothing where there is none."""
        return {} if self.layer is None else self.layer.diagnostics()

    @torch.no_grad()
    def content_rows(self, modalities: tuple[Modality, ...]) -> dict[str, Tensor]:
        """Rows of items that the catalogue need not know, by their content alone.

        Args:
            modalities: their titles, other modalities and genres, of the widths that training saw.

        Returns:
            What those tensors of `scorer` go on with that have a row an item: ``item`` (N, D) and, with borders by content,
            ``border`` (N, F).

        Raises:
            ConfigError: the model knows items by their IDs alone.
            DataError: an item has no title, or content is missing or of another width.
        """
        if self.layer is None or not isinstance(self.item, ContentItems):
            raise ConfigError(
                "expected a model that knows items by content, got items = 'id'; train one with items = 'both'"
            )
        content = item_content(modalities, self.config)
        f = self.layer.fusion.fuse_all(content).fused
        rows = {"item": self.next_item.served(self.item.of_content(f))}
        return rows if self.config.borders == "fixed" else {**rows, "border": f}

    def _borders(self, f: Float[Tensor, "I F"]) -> ContentBorders | None:
        if self.config.borders == "fixed":
            return None
        return ContentBorders(content=f.detach(), below=self.config.border_below, block=self.config.block)


class _Layer(nn.Module):
    """The fusion layer, what it is aligned to, and its vectors once it stands still."""

    space: Float[Tensor, "I C"]
    known: Bool[Tensor, " I"]

    def __init__(self, config: MufasaConfig, corpus: Corpus, *, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        content = item_content(corpus.modalities, config)
        if config.shuffled_titles:
            shuffled = torch.randperm(len(content), generator=generator)
            content = replace(content, titles=content.titles[shuffled])
        self.fusion = FusionLayer(
            content,
            dim=config.fusion_dim,
            rank=config.fusion_rank,
            num_heads=config.fusion_heads,
            fusion=config.fusion,
            anchor=config.anchor,
            generator=generator,
        )
        space = collaborative_space(
            corpus, dim=config.teacher_dim, teacher=config.teacher, generator=generator
        )
        self.register_buffer("space", space, persistent=False)
        self.register_buffer("known", corpus.popularity() >= config.teacher_events, persistent=False)
        self.collaborative_map = xavier_uniform(config.fusion_dim, config.teacher_dim, generator=generator)
        # no part of the saved state: they follow from the layer's weights, which no later stage moves
        self._frozen: Tensor | None = None

    def frozen(self) -> Float[Tensor, "I F"]:
        """The vectors f of all items, kept until the layer is trained on."""
        if self._frozen is None:
            self._frozen = self.fusion.fuse_all().fused
        return self._frozen

    def moves(self) -> None:
        """What was kept is no longer what the layer gives."""
        self._frozen = None

    @torch.no_grad()
    def diagnostics(self) -> dict[str, float]:
        """The items drawn are the same whatever the seed, so numbers of runs compare."""
        fused, content = self.fusion.fuse_all(), self.fusion.content
        if not fused.fused.isfinite().all():
            return {}  # nothing can be said of it, and the next step stops the training
        features = {"title": content.titles, **{name: one for name, (one, _) in content.modalities.items()}}
        return space_diagnostics(
            anchor=fused.anchor,
            fused=fused.fused,
            titles=content.titles,
            genres=content.genres,
            modalities={
                name: (fused.modalities[:, place], features[name], fused.present[:, place])
                for place, name in enumerate(self.fusion.names)
            },
            collaborative=self.space,
            known=self.known,
            generator=torch.Generator().manual_seed(0),
        )

    def losses(self, items: Int[Tensor, " B"], fused: Fused) -> dict[str, Tensor]:
        """Paper: MUFASA, Eq. (L1) to (L4)."""
        titles, config = self.fusion.content.titles[items], self.config
        return {
            "alignment": title_alignment(
                fused.views_to_align,
                fused.anchor,
                present=fused.views_present & fused.anchored,
                titles=titles,
                items=items,
                temperature=config.alignment_temperature,
                same_above=config.same_title,
            ),
            "collaborative": collaborative_alignment(
                fused.fused @ self.collaborative_map,
                self.space[items],
                known=self.known[items],
                items=items,
                temperature=config.teacher_temperature,
            ),
            "structure": structure(fused.views, titles, present=fused.views_present, items=items),
            "uniformity": uniformity(fused.fused, items=items),
        }


def mufasa_stages(config: MufasaConfig) -> tuple[StagePlan, ...]:
    """Items first, where there is content; then histories."""
    if config.items == "id":
        return (StagePlan(batches="histories"),)
    terms = frozenset({"softmax"}) | (FUSION_TERMS if config.joint else frozenset())
    return (
        StagePlan(
            batches="items",
            epochs=config.fusion_epochs,
            batch_size=config.fusion_batch,
            terms=FUSION_TERMS,
            evaluated=False,
        ),
        StagePlan(batches="histories", terms=terms),
    )


def content_names(modalities: tuple[Modality, ...], config: MufasaConfig) -> tuple[str, ...]:
    """The modalities that a model reads: the title, the others, and the genres where it asks for them."""
    return (config.title, *_others(modalities, config), *filter(None, [config.genres]))


def item_content(modalities: tuple[Modality, ...], config: MufasaConfig) -> ItemContent:
    """Titles, the other modalities and the genres of some items, as the options name them.

    Raises:
        ConfigError: a name is no modality with features.
    """
    known = {one.name: one for one in modalities if one.features is not None}
    for name in content_names(modalities, config):
        if name not in known:
            raise ConfigError(
                f"expected features of a modality {name!r}; {nearest(name, known)}, or make them with 'fuserec features'"
            )

    def features(name: str) -> Tensor:
        values = known[name].features
        assert values is not None
        return values.float()

    titles = features(config.title)
    genres = features(config.genres) != 0 if config.genres else torch.zeros(len(titles), 0, dtype=torch.bool)
    return ItemContent(
        titles=titles,
        modalities={name: (features(name), known[name].present) for name in _others(modalities, config)},
        genres=genres,
    )


def _others(modalities: tuple[Modality, ...], config: MufasaConfig) -> tuple[str, ...]:
    named = (one.name for one in modalities if one.features is not None)
    return config.modalities or tuple(name for name in named if name not in (config.title, config.genres))


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
