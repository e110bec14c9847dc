"""Collapse: items of many sorts among which users make one difference alone.

What an item is about has many columns, and titles and images show them all. Of these the sign of the first alone decides who
takes it: users are of one camp or the other. So the interactions have one direction worth keeping, and whatever is
pulled towards them is free to forget all the rest.

Shape legend
    U  users   I  items   D  width of what an item is about
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fuserec.batch import Corpus
from fuserec.shapes import Float, Int
from fuserec.testing.planted.content import blurred, everywhere, rotations
from fuserec.testing.planted.layout import corpus_of, even_histories

__all__ = ["Camps", "camps"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Camps:
    """A corpus, and what its items are.

    Attributes:
        corpus: modalities ``title`` and ``image``, and ``category``, of one column for all.
        about: (I, D) what titles and images show.
        camp: (I,) 0 or 1, by the sign of the first column.
    """

    corpus: Corpus
    about: Float[Tensor, "I D"]
    camp: Int[Tensor, " I"]


def camps(
    num_users: int,
    *,
    generator: torch.Generator,
    num_items: int = 240,
    events: int = 20,
    width: int = 12,
    loyalty: float = 0.95,
    noise: float = 0.05,
) -> Camps:
    """A corpus of two camps, the users with an even and those with an odd row.

    Args:
        num_users: U.
        generator: draws everything.
        num_items: I.
        events: of each user; one item may come again.
        width: D; titles have twice as many columns.
        loyalty: share of events that are of the user's own camp.
        noise: added to every column of titles and images.
    """
    about = torch.randn(num_items, width, generator=generator)
    about[:2, 0] = torch.tensor([-1.0, 1.0])  # no camp is empty
    camp = (about[:, 0] > 0).long()
    own = torch.arange(num_users)[:, None] % 2
    strays = torch.rand(num_users, events, generator=generator) >= loyalty
    wanted = torch.where(strays, 1 - own, own)
    by_camp = camp.argsort(stable=True)
    sizes = torch.bincount(camp)
    place = (torch.rand(wanted.shape, generator=generator) * sizes[wanted]).long()
    items = by_camp[place + wanted * sizes[0]]
    title_axes = rotations(1, 2 * width, generator=generator)[0, :, :width]
    image_axes = rotations(1, width, generator=generator)[0]
    return Camps(
        corpus=corpus_of(
            even_histories(items),
            num_items,
            (
                everywhere("title", blurred(about @ title_axes.T, noise, generator=generator)),
                everywhere("image", blurred(about @ image_axes.T, noise, generator=generator)),
                everywhere("category", torch.ones(num_items, 1)),
            ),
        ),
        about=about,
        camp=camp,
    )
