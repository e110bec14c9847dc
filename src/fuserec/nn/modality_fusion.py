"""One vector for an item, out of its title and its other modalities.

Shape legend
    B  items   M  modalities beside the anchor   V  views: what is fused, then the modalities   S  sources: anchor, modalities
    D  width of the space   H  heads   C  width of a head
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from fuserec.errors import ConfigError, DataError, nearest
from fuserec.nn.genre_encoder import GenreEncoder
from fuserec.nn.item_content import ItemContent
from fuserec.nn.linear import xavier_linear, xavier_uniform
from fuserec.ops.fusion import unit_or_zero
from fuserec.shapes import Bool, Float, Int

__all__ = ["CrossAttention", "Fused", "FusionLayer"]

TITLE, LEARNT = "title", "learnt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fused:
    """What the layer makes of some items; every row is a unit, or zero where there is nothing.

    Attributes:
        anchor: (B, D) p, the title where nothing else was asked for.
        anchored: (B,) items that have the anchor.
        modalities: (B, M, D) h, zero where an item lacks the modality.
        present: (B, M).
        fused: (B, D) f.
        still: (B, D) the same numbers; their gradient passes the anchor by, so alignment to the anchor cannot move it.
    """

    anchor: Float[Tensor, "B D"]
    anchored: Bool[Tensor, " B"]
    modalities: Float[Tensor, "B M D"]
    present: Bool[Tensor, "B M"]
    fused: Float[Tensor, "B D"]
    still: Float[Tensor, "B D"]

    @property
    def views(self) -> Float[Tensor, "V B D"]:
        """(V, B, D) f, then every h: what structure is asked of."""
        return torch.cat([self.fused[None], self.modalities.transpose(0, 1)])

    @property
    def views_to_align(self) -> Float[Tensor, "V B D"]:
        """(V, B, D) the same, but for the gradient: what alignment is asked of."""
        return torch.cat([self.still[None], self.modalities.transpose(0, 1)])

    @property
    def views_present(self) -> Bool[Tensor, "V B"]:
        """(V, B) views that an item has; f always."""
        return torch.cat([torch.ones_like(self.anchored)[None], self.present.T])


class CrossAttention(nn.Module):
    """Multi-head attention of one query an item over the sources that the item has.

    Args:
        dim: D.
        num_heads: H, a divisor of D.
        generator: draws the four maps.
    """

    def __init__(self, *, dim: int, num_heads: int, generator: torch.Generator) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key, self.value, self.output = (
            xavier_linear(dim, dim, generator=generator) for _ in range(4)
        )

    def forward(
        self,
        query: Float[Tensor, "B D"],
        sources: Float[Tensor, "B S D"],
        available: Bool[Tensor, "B S"],
    ) -> Float[Tensor, "B D"]:
        """(B, D); every item has at least one source."""
        query_BHC = self.query(query).unflatten(1, (self.num_heads, -1))
        key_BSHC = self.key(sources).unflatten(2, (self.num_heads, -1))
        value_BSHC = self.value(sources).unflatten(2, (self.num_heads, -1))
        logits_BSH = (query_BHC[:, None] * key_BSHC).sum(3) / query_BHC.shape[2] ** 0.5
        weights_BSH = torch.softmax(logits_BSH.masked_fill(~available[:, :, None], -torch.inf), 1)
        answer: Tensor = self.output((weights_BSH[:, :, :, None] * value_BSHC).sum(1).flatten(1))
        return answer


class FusionLayer(nn.Module):
    """Paper: MUFASA, docs/papers/mufasa.md, Eq. (F1) to (F3).

    The features are standardised at the door (`ItemContent.standardised`) and are no part of the saved state.

    Args:
        content: the catalogue.
        dim: D.
        rank: of a genre's correction, at least 1.
        num_heads: H of the attention, a divisor of D.
        fusion: what gathers the modalities beside the anchor: ``"attention"``; ``"concat"``, one map of all side by side;
            ``"mean"`` of those that an item has.
        anchor: ``"title"``; the name of another modality, then the title is one modality more; or ``"learnt"``, one vector
            for all items, which tells none apart.
        min_items: items with a genre, and with the modality, below which the genre is rare.
        generator: draws the weights.

    Raises:
        ConfigError: a name or a number cannot be used.
        DataError: content that cannot be used, see `ItemContent.standardised`.
    """

    def __init__(
        self,
        content: ItemContent,
        *,
        dim: int = 128,
        rank: int = 16,
        num_heads: int = 4,
        fusion: str = "attention",
        anchor: str = TITLE,
        min_items: int = 10,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        _check(content, dim=dim, rank=rank, num_heads=num_heads, fusion=fusion, anchor=anchor)
        self.fusion, self.anchor = fusion, anchor
        self._hold(content.standardised())
        known = _with_titles(self.content)
        self.names = tuple(name for name in known if name != anchor)
        if anchor == LEARNT:
            self.anchor_vector = xavier_uniform(1, dim, generator=generator)
        else:
            self.anchor_map = xavier_uniform(known[anchor][0].shape[1], dim, generator=generator)
        self.encoders = nn.ModuleDict()
        for name in self.names:
            features, present = known[name]
            # a bare name such as "type" would hide a method of nn.Module, which torch refuses
            self.encoders[f"{name}_encoder"] = GenreEncoder(
                width=features.shape[1],
                dim=dim,
                rank=rank,
                adapted=(content.genres & present[:, None]).sum(0) >= min_items,
                generator=generator,
            )
        if fusion == "attention":
            self.attention = CrossAttention(dim=dim, num_heads=num_heads, generator=generator)
        if fusion == "concat":
            self.side_by_side = xavier_linear(dim * (len(self.names) + 1), dim, generator=generator)
        self.norm = nn.LayerNorm(dim)
        self.fused_map = xavier_uniform(dim, dim, generator=generator)

    def _hold(self, content: ItemContent) -> None:
        self._modalities = tuple(content.modalities)
        self.register_buffer("_titles", content.titles, persistent=False)
        self.register_buffer("_genres", content.genres, persistent=False)
        for name, (features, present) in content.modalities.items():
            self.register_buffer(f"_{name}_features", features, persistent=False)
            self.register_buffer(f"_{name}_present", present, persistent=False)

    @property
    def content(self) -> ItemContent:
        """The catalogue, standardised, where the module now is."""
        return ItemContent(
            titles=self.get_buffer("_titles"),
            modalities={
                name: (self.get_buffer(f"_{name}_features"), self.get_buffer(f"_{name}_present"))
                for name in self._modalities
            },
            genres=self.get_buffer("_genres"),
        )

    def forward(self, items: Int[Tensor, " B"]) -> Fused:
        """Those items of the catalogue, with gradients."""
        return self._fuse(self.content.rows(items))

    @torch.no_grad()
    def fuse_all(self, content: ItemContent | None = None, *, rows: int = 4096) -> Fused:
        """All items, without gradients.

        Args:
            content: items that the catalogue need not know; None for the catalogue.
            rows: items worked on at a time, at least 1; it decides memory, not the result.

        Raises:
            DataError: other modalities, widths or genres than the catalogue's, or content that cannot be used.
        """
        if content is None:
            content = self.content
        else:
            self._check_like_catalogue(content)
            content = content.standardised()
        # one part at least, so that no item gives tensors of no row
        starts = range(0, max(1, len(content)), rows)
        parts = [self._fuse(content.rows(slice(start, start + rows))) for start in starts]
        return Fused(
            **{
                field.name: torch.cat([getattr(part, field.name) for part in parts])
                for field in fields(Fused)
            }
        )

    def _fuse(self, content: ItemContent) -> Fused:
        known = _with_titles(content)
        anchor_BD, anchored_B = self._anchor(known)
        modalities = [
            torch.where(present[:, None], self.encoders[f"{name}_encoder"](features, content.genres), 0.0)
            for name in self.names
            for features, present in [known[name]]
        ]
        available_BS = torch.stack([anchored_B, *(known[name][1] for name in self.names)], 1)
        fused_BD = self._join(anchor_BD, modalities, available_BS)
        still_BD = fused_BD
        if anchor_BD.requires_grad:
            still_BD = self._join(anchor_BD.detach(), modalities, available_BS)
        return Fused(
            anchor=anchor_BD,
            anchored=anchored_B,
            modalities=torch.stack([anchor_BD, *modalities], 1)[:, 1:],
            present=available_BS[:, 1:],
            fused=fused_BD,
            still=still_BD,
        )

    def _anchor(
        self, known: Mapping[str, tuple[Tensor, Tensor]]
    ) -> tuple[Float[Tensor, "B D"], Bool[Tensor, " B"]]:
        """Eq. (F1)."""
        if self.anchor == LEARNT:
            everywhere_B = known[TITLE][1]
            return unit_or_zero(self.anchor_vector).expand(len(everywhere_B), -1), everywhere_B
        features, present_B = known[self.anchor]
        return unit_or_zero(features @ self.anchor_map), present_B

    def _join(
        self,
        anchor: Float[Tensor, "B D"],
        modalities: list[Float[Tensor, "B D"]],
        available: Bool[Tensor, "B S"],
    ) -> Float[Tensor, "B D"]:
        """Eq. (F3)."""
        sources = torch.stack([anchor, *modalities], 1)
        if self.fusion == "attention":
            answer: Tensor = self.attention(anchor, sources, available)
        elif self.fusion == "concat":
            answer = self.side_by_side(sources.flatten(1))
        else:
            answer = sources.sum(1) / available.sum(1, keepdim=True)
        return unit_or_zero(self.norm(anchor + answer) @ self.fused_map)

    def _check_like_catalogue(self, content: ItemContent) -> None:
        expected, found = (
            {
                "title": each.titles.shape[1],
                **{name: features.shape[1] for name, (features, _) in each.modalities.items()},
                "genres": each.genres.shape[1],
            }
            for each in (self.content, content)
        )
        if found != expected:
            raise DataError(f"expected content of the widths {expected}, as in training, got {found}")


def _with_titles(content: ItemContent) -> dict[str, tuple[Tensor, Tensor]]:
    """Features and presence of everything, titles first."""
    everywhere = torch.ones(len(content), dtype=torch.bool, device=content.titles.device)
    return {TITLE: (content.titles, everywhere), **content.modalities}


def _check(content: ItemContent, *, dim: int, rank: int, num_heads: int, fusion: str, anchor: str) -> None:
    kinds = ("attention", "concat", "mean")
    if fusion not in kinds:
        raise ConfigError(f"expected a known fusion, got {fusion!r}; {nearest(fusion, kinds)}")
    taken = {TITLE, LEARNT, "genres"} & content.modalities.keys()
    if taken:
        raise ConfigError(f"expected modalities of other names than {sorted(taken)}; rename them")
    anchors = (TITLE, LEARNT, *content.modalities)
    if anchor not in anchors:
        raise ConfigError(f"expected a known anchor, got {anchor!r}; {nearest(anchor, anchors)}")
    if num_heads < 1 or dim < 1 or dim % num_heads:
        raise ConfigError(
            f"expected dim to be a multiple of num_heads, got dim = {dim} and num_heads = {num_heads}"
        )
    if rank < 1:
        raise ConfigError(f"rank must be at least 1, got {rank}")
