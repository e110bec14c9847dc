"""One relevant block far in the past: who goes through an old block again takes the very items it had.

A block is an evening with one interest: a cue, which stands for that evening and stands in it several times, and one item of
each slot of the interest, all in any order. Much later the cue comes again, and after it the same items, now slot after slot
around the ring of slots, from any slot on. So from the second item on each is determined: its slot by the item before,
its variant by the old block alone. Cues say nothing of the interest, and no window reaches back.

The mean of the old block does not give the item away: it would have to hold all of the block's items at once, at
hundreds of items in a few dozen dimensions. What it does say is the interest, which is how a block is found to be worth choosing.

Shape legend
    U  users   R  blocks gone through again   T  events of all
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fuserec.batch import Histories
from fuserec.errors import ConfigError
from fuserec.shapes import Bool, Int
from fuserec.testing.planted.layout import even_histories, shuffles

__all__ = ["FarBlocks", "far_blocks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FarBlocks:
    """Histories, and what in them is determined.

    Attributes:
        histories: of U users, equally long.
        num_items: I; the first of them are the cues.
        again: (T,) True for items of a block that is gone through again, cues aside.
        told: (T,) True where the law tells the item: those of ``again`` but the first of each block.
        source: (T,) the entry of the items of ``histories`` where the same item stood in the old block; -1 outside ``again``.
    """

    histories: Histories
    num_items: int
    again: Bool[Tensor, " T"]
    told: Bool[Tensor, " T"]
    source: Int[Tensor, " T"]


def far_blocks(
    num_users: int,
    *,
    generator: torch.Generator,
    block: int = 8,
    cues: int = 3,
    first: int = 8,
    away: int = 2,
    returns: int = 4,
    interests: int = 4,
    variants: int = 8,
    left_out: int = 0,
) -> FarBlocks:
    """Histories of ``first + returns`` blocks.

    Args:
        num_users: U.
        generator: draws everything.
        block: events of a block.
        cues: how often the cue stands in its block; the others are the slots.
        first: blocks of a history that are new; after them come those gone through again.
        away: whole blocks at least between a block and its return.
        returns: blocks gone through again, each another; the first block of all never is.
        interests: each with items of its own.
        variants: items of an interest and slot.
        left_out: events that are missing at the beginning, where a model has vectors of its own: so its blocks are these.

    Raises:
        ConfigError: there are fewer blocks to return to than returns, or fewer than two slots.
    """
    slots = block - cues
    if cues < 1 or slots < 2:
        raise ConfigError(f"expected 1 .. {block - 2} cues in a block of {block}, got {cues}")
    if not 1 <= returns <= first - away - 1:
        raise ConfigError(f"expected 1 .. {first - away - 1} returns (first - away - 1), got {returns}")
    cue = shuffles(num_users, first, generator=generator)
    interest = torch.randint(interests, (num_users, first, 1), generator=generator)
    variant = torch.randint(variants, (num_users, first, slots), generator=generator)
    by_slot = first + (interest * slots + torch.arange(slots)) * variants + variant
    whole = torch.cat([cue[:, :, None].expand(-1, -1, cues), by_slot], dim=2)
    order = torch.rand(whole.shape, generator=generator).argsort(dim=2)

    returned = 1 + shuffles(num_users, first - away - 1, generator=generator)[:, :returns]
    begins = torch.randint(slots, (num_users, returns, 1), generator=generator)
    ring = cues + (begins + torch.arange(slots)) % slots  # places in ``whole``, where cues come first
    cues_then_ring = torch.cat([torch.arange(cues).expand(num_users, returns, cues), ring], dim=2)
    again = whole.gather(1, _along(returned, block)).gather(2, cues_then_ring)

    # where each place of ``whole`` went, as an event of the history
    place = torch.arange(first)[:, None] * block + order.argsort(dim=2)
    place[..., :cues] = -1
    source = place.gather(1, _along(returned, block)).gather(2, cues_then_ring)
    items = torch.cat([whole.gather(2, order), again], dim=1).flatten(1)[:, left_out:]
    source = torch.cat([torch.full_like(order, -1), source], dim=1).flatten(1)[:, left_out:] - left_out
    is_again = source >= 0
    # the first item after the cues is the first whose predecessor is none
    told = is_again & is_again.roll(1, dims=1)
    begin = torch.arange(num_users)[:, None] * items.shape[1]
    return FarBlocks(
        histories=even_histories(items),
        num_items=first + interests * slots * variants,
        again=is_again.flatten(),
        told=told.flatten(),
        source=torch.where(is_again, source + begin, -1).flatten(),
    )


def _along(blocks: Int[Tensor, "U R"], block: int) -> Int[Tensor, "U R block"]:
    """The numbers of blocks as an index of all their events."""
    return blocks[:, :, None].expand(-1, -1, block)
