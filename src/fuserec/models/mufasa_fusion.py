"""The first half of MUFASA: the fusion layer and the losses that teach it what items are.

Shape legend
    I  items   B  items of a batch   C  width of the collaborative space   F  width of the fused space
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from fuserec.batch import Corpus
from fuserec.losses import (
    collaborative_alignment,
    genre_discrepancy,
    sliced_wasserstein,
    structure,
    title_alignment,
    uniformity,
)
from fuserec.metrics.space import space_diagnostics
from fuserec.models.collaborative_space import collaborative_space
from fuserec.models.mufasa_config import MufasaConfig
from fuserec.models.mufasa_content import item_content
from fuserec.nn.draws import Draws
from fuserec.nn.linear import xavier_uniform
from fuserec.nn.modality_fusion import FusionLayer
from fuserec.shapes import Bool, Float, Int

__all__ = ["MufasaFusion"]

DIRECTIONS = 64
"""Along which a step looks at how evenly items lie on the sphere."""


class MufasaFusion(nn.Module):
    """The fusion layer, what it is aligned to, and its vectors once it stands still.

    Args:
        config: options.
        corpus: training interactions and content.
        generator: draws the initial weights.

    Raises:
        ConfigError: an option does not fit the data.
        DataError: an item has no title.
    """

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
            corpus,
            dim=config.teacher_dim,
            teacher=config.teacher,
            max_items=config.teacher_max_items,
            generator=generator,
        )
        self.register_buffer("space", space, persistent=False)
        self.register_buffer("known", corpus.popularity() >= config.teacher_events, persistent=False)
        self.collaborative_map = xavier_uniform(config.fusion_dim, config.teacher_dim, generator=generator)
        self.directions = Draws(generator=generator) if "sliced_wasserstein" in config.spread else None
        # no part of the saved state: they follow from the layer's weights, which no later stage moves
        self._frozen: Tensor | None = None

    def frozen(self) -> Float[Tensor, "I F"]:
        """The vectors f of all items, kept until the layer is trained on."""
        if self._frozen is None:
            self._frozen = self.fusion.fuse_all().fused
        return self._frozen

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

    def losses(self, items: Int[Tensor, " B"]) -> dict[str, Tensor]:
        """Paper: MUFASA, Eq. (L1) to (L4c), those that are asked for.

        Args:
            items: (B,) rows of the items, distinct for a step of training.
        """
        # a step follows, after which the layer gives something else than was kept
        self._frozen = None
        fused, titles, config = self.fusion(items), self.fusion.content.titles[items], self.config
        terms = {
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
        }
        if "uniformity" in config.spread:
            terms["uniformity"] = uniformity(fused.fused, items=items)
        if "genre_discrepancy" in config.spread:
            terms["genre_discrepancy"] = genre_discrepancy(fused.fused, self.fusion.content.genres[items])
        if self.directions is not None:
            terms["sliced_wasserstein"] = sliced_wasserstein(
                fused.fused, num_directions=DIRECTIONS, generator=self.directions.draws(torch.device("cpu"))
            )
        return terms
