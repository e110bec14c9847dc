"""Scores of TMFUN's pair scope, against the 2M + 2 products of users and items that it cannot do without.

One chunk of an evaluation, 512 users and Baby's number of items, with two modalities of width 64: block by block, as the
scorer works, and in one piece. Held: at most 2 times the bare products.

    python benchmarks/pair_scoring.py [--rounds 15]
"""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

import torch
from corpora import ITEMS
from measure import interleaved, main, median_ratio
from torch import Tensor

from fuserec.batch import Histories, Queries
from fuserec.models.pair_fusion import PairFusion

DIM, CHUNK, MODALITIES = 64, 512, 2


def drawn() -> PairFusion:
    """A scorer of random numbers."""
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    return PairFusion.of(
        user=normal(CHUNK, DIM),
        item=normal(ITEMS, DIM),
        fold=normal(ITEMS, DIM),
        foldable=torch.ones(ITEMS, dtype=torch.bool),
        keys=normal(MODALITIES, ITEMS, DIM),
        logits=normal(MODALITIES, ITEMS),
        values=normal(MODALITIES, ITEMS, DIM),
        id_feature=normal(ITEMS, DIM),
        question=normal(ITEMS, DIM),
        present=torch.rand(ITEMS, MODALITIES, generator=generator) > 0.1,
    )


def products(scorer: PairFusion) -> None:
    """Every user with everything that an item holds, and nothing made of it."""
    for vectors in (scorer.item, *scorer.keys, *scorer.answers):
        torch.mm(scorer.user, vectors.T)


def measure(rounds: int) -> dict[str, Any]:
    """Seconds a chunk, and ratios."""
    scorer, everything = drawn(), slice(0, ITEMS)
    asking = Queries(users=torch.arange(CHUNK), histories=Histories.from_lists([[]] * CHUNK))
    times = interleaved(
        {
            "products": partial(products, scorer),
            "blocks": partial(scorer.scores, asking, everything),
            "one_piece": partial(scorer.content_scores, scorer.user, everything),
        },
        rounds,
    )
    return {
        **{f"{name}_seconds": statistics.median(seconds) for name, seconds in times.items()},
        "blocks_over_products": median_ratio(times, "blocks", "products"),
        "one_piece_over_blocks": median_ratio(times, "one_piece", "blocks"),
    }


if __name__ == "__main__":
    main(measure, __doc__, rounds=15)
