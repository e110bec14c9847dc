"""Do neighbours by content share users more often than chance?

For every item and each of its neighbours: how many training users have both. Popular items share users with everything,
so chance is measured at the same popularity: the same item, and in place of the neighbour the items that stand next to
it when the items present are put in the order of their training users. Features that knew nothing but popularity would
gain nothing by it.

Shape legend
    I  items   K  neighbours   P  items present   W  matched items of each   N  items of a block
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fuserec.batch import Corpus
from fuserec.ops.cooccurrence import cooccurrence_blocks
from fuserec.shapes import Bool, Float, Int

__all__ = ["MATCHED", "Lift", "Listing", "lifts", "matched_items"]

MATCHED = 10
"""Items of like popularity that stand for chance in the place of a neighbour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Neighbours to be judged.

    Attributes:
        neighbours: (I, K) item rows, -1 for none; never the item itself nor one that is not present.
        present: (I,) the items that could have been neighbours.
    """

    neighbours: Int[Tensor, "I K"]
    present: Bool[Tensor, " I"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lift:
    """How often neighbours share training users.

    Attributes:
        pairs: of an item and a neighbour.
        shared: mean number of users that a pair shares.
        chance: mean number that the item shares with items as popular as the neighbour.
        error: standard error of the lift, the items taken as drawn at random.
    """

    pairs: int
    shared: float
    chance: float
    error: float

    @property
    def lift(self) -> float | None:
        """``shared / chance``; None where chance is 0, so that nothing can be said."""
        return self.shared / self.chance if self.chance > 0 else None


def matched_items(
    popularity: Int[Tensor, " I"], present: Bool[Tensor, " I"], *, seed: int
) -> Int[Tensor, "I W"]:
    """The items present that stand next to each one in the order of popularity, half of them on either side.

    Items of equal popularity stand in a random order, since that of a catalogue may follow its content.

    Args:
        popularity: (I,) training users.
        present: (I,).
        seed: of the random order.

    Returns:
        (I, W) never the item itself; rows of items that are not present mean nothing. W is `MATCHED`, or fewer where
        fewer others are present.

    Example:
        >>> matched_items(torch.tensor([5, 1, 9]), torch.ones(3) > 0, seed=0).tolist()
        [[1, 2], [0, 2], [1, 0]]
    """
    mixed = torch.randperm(len(popularity), generator=torch.Generator().manual_seed(seed))
    mixed = mixed[present[mixed]]
    order = mixed[popularity[mixed].argsort(stable=True)]
    width = max(0, min(MATCHED, len(order) - 1))
    place = torch.arange(len(order))
    first = (place - width // 2).clamp(0, max(0, len(order) - width - 1))
    places = first[:, None] + torch.arange(width)
    places += places >= place[:, None]
    matched = torch.zeros(len(popularity), width, dtype=torch.int64)
    matched[order] = order[places]
    return matched


def lifts(corpus: Corpus, listings: Sequence[Listing], *, seed: int) -> list[Lift]:
    """The lift of each listing; shared users are counted once for all of them, in blocks of items.

    Args:
        corpus: its training pairs count; a pair that stands twice counts once.
        listings: at least none.
        seed: of the random order among equally popular items.
    """
    distinct = corpus.train.distinct(num_items=corpus.num_items)
    popularity = torch.bincount(distinct.items, minlength=corpus.num_items)
    matched = [matched_items(popularity, one.present, seed=seed) for one in listings]
    sums = [torch.zeros(2, corpus.num_items, dtype=torch.float64) for _ in listings]
    blocks = cooccurrence_blocks(corpus.train, num_users=corpus.num_users, num_items=corpus.num_items)
    for rows, counts in blocks:
        for listing, others, total in zip(listings, matched, sums, strict=True):
            total[:, rows] = _shared_and_chance(counts, rows, listing.neighbours[rows], others)
    return [
        _lift(total, int((listing.neighbours >= 0).sum()))
        for listing, total in zip(listings, sums, strict=True)
    ]


def _shared_and_chance(
    counts: Float[Tensor, "N I"], rows: slice, neighbours: Int[Tensor, "N K"], matched: Int[Tensor, "I W"]
) -> Float[Tensor, "2 N"]:
    """Of each item of a block the users shared with its neighbours, and with what stands in their place."""
    own = torch.arange(rows.start, rows.stop)
    there = neighbours >= 0
    safe = neighbours.clamp_min(0)
    shared = torch.where(there, counts.gather(1, safe), 0.0)
    others = matched[safe]
    # Next to the neighbour may stand the item itself, which shares all its users with itself.
    counted = there[:, :, None] & (others != own[:, None, None])
    found = counts.gather(1, others.flatten(1)).view(others.shape)
    chance = torch.where(counted, found, 0.0).sum(2) / counted.sum(2).clamp_min(1)
    return torch.stack([shared.double().sum(1), chance.double().sum(1)])


def _lift(sums: Float[Tensor, "2 I"], pairs: int) -> Lift:
    """The ratio of the sums, and its standard error by linearisation."""
    shared, chance = sums
    ratio = shared.sum() / chance.sum() if chance.sum() > 0 else torch.zeros(())
    rest = (shared - ratio * chance).square().sum().sqrt()
    return Lift(
        pairs=pairs,
        shared=float(shared.sum()) / max(1, pairs),
        chance=float(chance.sum()) / max(1, pairs),
        error=float(rest / chance.sum()) if chance.sum() > 0 else math.inf,
    )
