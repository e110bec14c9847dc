"""Generated data of Amazon Baby's size and multiples of it, so that a benchmark needs no data that cannot be shared."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from fuserec.batch import Corpus, KnnGraph, Modality, Pairs, Prepared

__all__ = ["ITEMS", "TRAIN", "USERS", "baby_sized", "grown", "ready_graph"]

USERS, ITEMS, TRAIN, HELD_OUT, WIDTH, CENTRES = 19_445, 7_050, 119_674, 20_559, 256, 400


def baby_sized() -> Prepared:
    """Pairs with a long-tailed popularity, and two modalities with features of 256 columns."""
    generator = torch.Generator().manual_seed(0)
    train = _pairs(TRAIN, scale=1, generator=generator)
    corpus = Corpus(
        num_users=USERS,
        num_items=ITEMS,
        train=train,
        modalities=tuple(_modality(name, scale=1, generator=generator) for name in ("text", "image")),
    )
    return Prepared(
        corpus=corpus,
        valid=_pairs(HELD_OUT, scale=1, generator=generator),
        test=_pairs(HELD_OUT, scale=1, generator=generator),
        split="generated",
        repeats=False,
        dataset_hash="generated",
        split_hash="generated",
    )


def grown(scale: int, *, neighbours: int) -> Corpus:
    """``scale`` times the users, the items and the training pairs, so the mean degrees stay Baby's.

    So catalogues grow: Amazon Electronics has 10 times Baby's interactions, 10 times its users and 9 times its items. The
    distribution of popularity stays, so the most popular item of a larger corpus has more pairs. Items stand in no
    order of popularity. Features have 256 columns at every scale, and each modality has a ready graph, because the
    search of neighbours is quadratic in the items.

    Args:
        scale: 1 for Baby's size.
        neighbours: of an item in each ready graph.
    """
    generator = torch.Generator().manual_seed(0)
    train = _pairs(scale * TRAIN, scale=scale, generator=generator)
    order = torch.randperm(scale * ITEMS, generator=generator)
    modalities = (_modality(name, scale=scale, generator=generator) for name in ("text", "image"))
    return Corpus(
        num_users=scale * USERS,
        num_items=scale * ITEMS,
        train=Pairs(users=train.users, items=order[train.items]),
        modalities=tuple(
            replace(modality, graph=ready_graph(scale * ITEMS, neighbours, generator=generator))
            for modality in modalities
        ),
    )


def ready_graph(items: int, neighbours: int, *, generator: torch.Generator) -> KnnGraph:
    """Neighbours from the nearest 2K places of a random order, so half of them are mutual, as in real kNN graphs."""
    order = torch.randperm(items, generator=generator)
    distances = torch.cat([torch.arange(-neighbours, 0), torch.arange(1, neighbours + 1)])
    drawn = torch.rand(items, len(distances), generator=generator).argsort(1)[:, :neighbours]
    places = (torch.arange(items)[:, None] + distances[drawn]) % items
    columns = torch.empty_like(places)
    columns[order] = order[places]
    weights = torch.rand(items, neighbours, generator=generator).sort(1, descending=True).values
    return KnnGraph(neighbours=columns, weights=weights)


def _pairs(count: int, *, scale: int, generator: torch.Generator) -> Pairs:
    """At least one pair a user; the cube makes the popularity long-tailed."""
    num_users, num_items = scale * USERS, scale * ITEMS
    extra = torch.randint(0, num_users, (count - num_users,), generator=generator)
    users = torch.cat([torch.arange(num_users), extra]).sort().values
    items = (torch.rand(count, generator=generator) ** 3 * num_items).long()
    return Pairs(users=users, items=items.clamp_max(num_items - 1))


def _modality(name: str, *, scale: int, generator: torch.Generator) -> Modality:
    """Random rows around random centres, as many items a centre at every scale."""
    num_items, num_centres = scale * ITEMS, scale * CENTRES
    features: Tensor = torch.randn(num_centres, WIDTH, generator=generator)
    features = features[torch.randint(0, num_centres, (num_items,), generator=generator)]
    features = features + torch.randn(num_items, WIDTH, generator=generator)
    return Modality(name=name, present=torch.ones(num_items, dtype=torch.bool), features=features)
