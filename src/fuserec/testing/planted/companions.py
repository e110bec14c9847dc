"""Evolution of blocks: what an interest turns into was seen in an earlier block, and only a whole block asks for it.

Every user pairs the interests in a way of the user's own. First come evenings that mix the two interests of a pair; then
evenings of one interest alone, each followed by one of its companion. Every evening begins with the same opening item. So when
the opening stands there, the interest that comes is determined: it stood beside the last evening's interest before.

The opening itself asks for nothing, so an event's own query is no help: the last *block* has to find the block that it is
like. Pairs are the user's own, so neither the last item nor items that often come together, over all users, say anything.

Shape legend
    U  users   I  items   T  events of all   P  pairs   S  events of a block but the opening
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from fuserec.batch import Histories
from fuserec.errors import ConfigError
from fuserec.shapes import Bool, Int
from fuserec.testing.planted.layout import even_histories, shuffles

__all__ = ["Companions", "companions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Companions:
    """Histories, and what in them is determined.

    Attributes:
        histories: of U users, equally long.
        interest: (I,) of each item, -1 for the opening, item 0.
        told: (T,) True for the first item after an opening whose interest the law tells.
    """

    histories: Histories
    interest: Int[Tensor, " I"]
    told: Bool[Tensor, " T"]

    @property
    def num_items(self) -> int:
        """I."""
        return len(self.interest)


def companions(
    num_users: int,
    *,
    generator: torch.Generator,
    block: int = 8,
    pairs: int = 6,
    returns: int = 3,
    items_per_interest: int = 2,
    left_out: int = 0,
) -> Companions:
    """Histories of ``pairs + 2 * returns`` blocks.

    Args:
        num_users: U.
        generator: draws everything.
        block: events of a block, the opening included.
        pairs: P, of interests; a history begins with a block that mixes each.
        returns: pairs that come again, one interest after the other.
        items_per_interest: any of them may stand for the interest.
        left_out: events that are missing at the beginning, where a model has vectors of its own: so its blocks are these.

    Raises:
        ConfigError: a block has no room for two interests, or more pairs come again than there are.
    """
    if block < 3:
        raise ConfigError(f"block must be at least 3, an opening and two interests, got {block}")
    if not 1 <= returns <= pairs:
        raise ConfigError(f"expected 1 .. {pairs} returns, one for each pair at most, got {returns}")
    pair = shuffles(num_users, 2 * pairs, generator=generator).view(num_users, pairs, 2)
    side = torch.rand(num_users, pairs, block - 1, generator=generator).argsort(dim=2) % 2
    mixed = pair.gather(2, side)

    which = shuffles(num_users, pairs, generator=generator)[:, :returns, None].expand(-1, -1, 2)
    turned = torch.rand(num_users, returns, 1, generator=generator) < 0.5
    again = pair.gather(1, which)
    alone = torch.where(turned, again.flip(2), again).flatten(1)

    interest = torch.cat([mixed, alone[:, :, None].expand(-1, -1, block - 1)], dim=1)
    drawn = torch.randint(items_per_interest, interest.shape, generator=generator)
    items = pad(1 + interest * items_per_interest + drawn, (1, 0))
    told = torch.zeros_like(items, dtype=torch.bool)
    told[:, pairs + 1 :: 2, 1] = True
    of_item = torch.arange(2 * pairs).repeat_interleave(items_per_interest)
    return Companions(
        histories=even_histories(items.flatten(1)[:, left_out:]),
        interest=torch.cat([torch.tensor([-1]), of_item]),
        told=told.flatten(1)[:, left_out:].flatten(),
    )
