"""Options of MUFASA."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from fuserec.added import ADDED
from fuserec.errors import ConfigError, nearest
from fuserec.models.catalogue_loss import Loss, check_next_item
from fuserec.models.next_item import Similarity
from fuserec.nn.negatives import Law

__all__ = ["MufasaConfig"]

Items = Literal["both", "id", "content"]
Attention = Literal["sparse", "dense"]
Fusion = Literal["attention", "concat", "mean"]
Teacher = Literal["ease", "transitions"]
Borders = Literal["fixed", "content"]

SPREADS = ("uniformity", "genre_discrepancy", "sliced_wasserstein")


@dataclass(frozen=True, slots=True, kw_only=True)
class MufasaConfig:
    """Options of MUFASA. Symbols are those of docs/papers/mufasa.md."""

    dim: int = 64
    """Width D of item and user vectors, at least 1."""
    num_layers: int = 2
    """Blocks of the alignment layer, at least 1."""
    heads: int = 2
    """Heads of the attention; D must be a multiple of twice their number."""
    dropout: float = 0.2
    """Share of values dropped from the input and from the outputs of the blocks' branches, from 0 to below 1."""
    attention: Attention = "sparse"
    """"sparse", or "dense" for comparison: every event attends to all earlier ones."""
    window: int = 64
    """Events that the windowed branch sees (w), at least 1."""
    block: int = 16
    """Events of a block (l), at least 1."""
    selected: int = 4
    """Earlier blocks that a group chooses (n), at least 0."""
    borders: Borders = field(default="fixed", metadata=ADDED)
    """Where blocks begin: every so many events, or by "content": where f of an event is unlike that of the event before."""
    border_below: float = field(default=0.0, metadata=ADDED)
    """A smaller cosine of two consecutive events begins a block, from -1 to 1; for borders by content."""
    group: int = 8
    """Neighbouring events that share a choice (g); divides the block."""
    branches: tuple[str, ...] = ("window", "block", "selected")
    """Branches of the sparse attention, in this order."""
    gated: bool = True
    """Weigh the branches by learnt gates; with false, equally."""
    learnt_pooling: bool = False
    """Pool the events of a block by learnt weights instead of their mean."""
    evolution: bool = True
    """Let blocks attend to earlier blocks, and events read the state of the last whole block."""
    gated_residual: bool = field(default=False, metadata=ADDED)
    """Let a gate weigh what attention and feed-forward add to the stream, as in LiGR; dense only with ``gated_feed_forward``
    too."""
    gated_feed_forward: bool = False
    """SwiGLU in place of GELU, with as many weights."""
    items: Items = "both"
    """What item vectors are made of: "both" content and IDs, "id" or "content" alone."""
    tied: bool = field(default=True, metadata=ADDED)
    """Read events by the vectors that candidates are scored by; with false, by vectors of their own."""
    id_dropout: float = 0.2
    """Share of items whose ID vector is dropped in a step, from 0 to below 1."""
    cold_scale: float = field(default=1.0, metadata=ADDED)
    """What scores of items without a training interaction are multiplied by, above 0: how loud new items are."""
    similarity: Similarity = "dot"
    """Of user and item: "dot", their inner product, or "cosine" over a learnt temperature."""
    loss: Loss = field(default="softmax", metadata=ADDED)
    """"softmax" over all items with a training interaction, or "sampled", with items "id" alone: over the next
    item and a sample of them."""
    num_negatives: int = field(default=256, metadata=ADDED)
    """Items that a step draws where the loss is sampled, at least 1."""
    negatives: Law = field(default="uniform", metadata=ADDED)
    """How they are drawn: "uniform", or by "popularity" to the power .75; either is corrected for."""
    joint: bool = False
    """Train the fusion layer on with the alignment layer, instead of keeping its vectors as they are."""
    title: str = "title"
    """Modality whose features are the titles."""
    genres: str = "category"
    """Modality whose features that are not zero are an item's genres; empty for none."""
    modalities: tuple[str, ...] = ()
    """Modalities beside the title; empty means all but the genres."""
    anchor: str = "title"
    """"title", the name of another modality, or "learnt": what the modalities are aligned to."""
    shuffled_titles: bool = False
    """Give every item the title of another one, drawn at random: a control."""
    fusion: Fusion = "attention"
    """How the modalities come together: "attention", "concat" or "mean"."""
    fusion_dim: int = 128
    """Width of the fused vectors, at least 1."""
    fusion_heads: int = 4
    """Heads of the fusion layer; divides its width."""
    fusion_rank: int = 16
    """Rank of a genre's adapter, at least 1."""
    fusion_epochs: int = 200
    """Passes over the items in the first stage, at least 1."""
    fusion_batch: int = 512
    """Items a step of the first stage, at least 2."""
    alignment_temperature: float = 0.07
    """Of the alignment to titles, above 0."""
    same_title: float = 0.9
    """Titles with a larger cosine are no negatives of each other."""
    spread: tuple[str, ...] = field(default=("uniformity",), metadata=ADDED)
    """What spreads the fused vectors (L4), each a loss of its own: some of "uniformity", "genre_discrepancy", "sliced_wasserstein"."""
    teacher: Teacher = "ease"
    """Collaborative space: "ease" (who had both), or "transitions" (which item comes soon after which)."""
    teacher_dim: int = 128
    """Width of the collaborative space, at least 1."""
    teacher_max_items: int = field(default=20_000, metadata=ADDED)
    """A larger catalogue is refused, as the teacher's item-to-item matrix is dense: 4 bytes times the items squared, at least 1."""
    teacher_temperature: float = 0.1
    """Of the alignment to the collaborative space, above 0."""
    teacher_events: int = 5
    """Training events below which an item has no weight there, at least 1."""

    def __post_init__(self) -> None:
        """Check the ranges; sizes of the attention and of the fusion layer are checked where they are used."""
        least = {
            "fusion_dim": 1,
            "fusion_heads": 1,
            "fusion_rank": 1,
            "fusion_epochs": 1,
            "fusion_batch": 2,
            "teacher_dim": 1,
            "teacher_max_items": 1,
            "teacher_events": 1,
        }
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ConfigError(f"{name} must be at least {value}, got {getattr(self, name)}")
        if self.fusion_dim % self.fusion_heads:
            raise ConfigError(
                f"expected fusion_dim to be a multiple of fusion_heads, got {self.fusion_dim} and {self.fusion_heads}"
            )
        check_next_item(self)
        if not 0 <= self.id_dropout < 1:
            raise ConfigError(f"id_dropout must be from 0 to below 1, got {self.id_dropout}")
        if self.loss == "sampled" and self.items != "id":
            raise ConfigError(
                f"expected loss 'softmax' where items = {self.items!r}, got 'sampled': vectors made of content are needed for all "
                "items in each step; take items = 'id', or leave the loss at 'softmax'"
            )
        if not self.tied and self.loss == "sampled":
            raise ConfigError(
                "expected loss 'softmax' where tied is false, got 'sampled'; set tied = true, or leave the loss at 'softmax'"
            )
        for name in ("alignment_temperature", "teacher_temperature", "cold_scale"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.attention == "dense" and self.gated_residual != self.gated_feed_forward:
            raise ConfigError(
                "expected gated_residual and gated_feed_forward alike where attention = 'dense', got "
                f"{self.gated_residual} and {self.gated_feed_forward}; set both or neither"
            )
        if not -1 <= self.border_below <= 1:
            raise ConfigError(f"border_below must be from -1 to 1, got {self.border_below}")
        for name in self.spread:
            if name not in SPREADS:
                raise ConfigError(
                    f"expected spread to name some of {', '.join(SPREADS)}, got {name!r}; {nearest(name, SPREADS)}"
                )
        for name in ("modalities", "spread"):
            named = getattr(self, name)
            if twice := sorted({one for one in named if named.count(one) > 1}):
                raise ConfigError(f"expected {name} to name each once, got {twice[0]!r} twice; name it once")
        if self.title in self.modalities:
            raise ConfigError(
                f"expected modalities beside the title, got the title {self.title!r} among them; take it out"
            )
        if "sliced_wasserstein" in self.spread and self.fusion_dim < 2:
            raise ConfigError(
                f"fusion_dim must be at least 2 where spread names 'sliced_wasserstein', got {self.fusion_dim}"
            )
        if "genre_discrepancy" in self.spread and not self.genres:
            raise ConfigError(
                "expected genres where spread names 'genre_discrepancy', which compares them, got none; name the modality "
                "that holds them, or take it out of spread"
            )
        for name, kind in (
            ("items", Items),
            ("attention", Attention),
            ("fusion", Fusion),
            ("teacher", Teacher),
            ("similarity", Similarity),
            ("borders", Borders),
        ):
            if getattr(self, name) not in get_args(kind):
                raise ConfigError(
                    f"expected {name} to be one of {', '.join(get_args(kind))}, got {getattr(self, name)!r}; "
                    f"{nearest(getattr(self, name), get_args(kind))}"
                )
        if self.borders == "content":
            for name, unfit, fit in (("items", "id", "both"), ("attention", "dense", "sparse")):
                if getattr(self, name) == unfit:
                    raise ConfigError(
                        f"expected {name} = {fit!r} where borders = 'content', got {unfit!r}; "
                        "change it, or set borders = 'fixed'"
                    )
