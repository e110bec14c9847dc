"""Generated data of Amazon Baby's size, so that a benchmark needs no data that cannot be shared."""

from __future__ import annotations

import torch

from fuserec.batch import Corpus, Modality, Pairs, Prepared

__all__ = ["ITEMS", "TRAIN", "USERS", "baby_sized"]

USERS, ITEMS, TRAIN, HELD_OUT, WIDTH = 19_445, 7_050, 119_674, 20_559, 256


def baby_sized() -> Prepared:
    """Pairs with a long-tailed popularity, and two modalities with features of 256 columns."""
    generator = torch.Generator().manual_seed(0)

    def pairs(count: int) -> Pairs:
        extra = torch.randint(0, USERS, (count - USERS,), generator=generator)
        users = torch.cat([torch.arange(USERS), extra]).sort().values
        items = (torch.rand(count, generator=generator) ** 3 * ITEMS).long()
        return Pairs(users=users, items=items)

    def modality(name: str) -> Modality:
        centres = torch.randn(400, WIDTH, generator=generator)
        chosen = torch.randint(0, 400, (ITEMS,), generator=generator)
        features = centres[chosen] + torch.randn(ITEMS, WIDTH, generator=generator)
        return Modality(name=name, present=torch.ones(ITEMS, dtype=torch.bool), features=features)

    corpus = Corpus(
        num_users=USERS,
        num_items=ITEMS,
        train=pairs(TRAIN),
        modalities=(modality("text"), modality("image")),
    )
    return Prepared(
        corpus=corpus,
        valid=pairs(HELD_OUT),
        test=pairs(HELD_OUT),
        split="generated",
        repeats=False,
        dataset_hash="generated",
        split_hash="generated",
    )
