"""Full-ranking evaluation with all metrics, against its bare arithmetic: one product and one top-k a chunk.

The scores are products of random towers of width 64; a second pair of towers gives nearly every item the score 0, as a
content-based neighbourhood does, so that every list ends in a tie. Held: at most 2 times the bare form.

    python benchmarks/evaluation.py [--rounds 9]
"""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

import torch
from corpora import ITEMS, USERS, baby_sized
from measure import interleaved, main, median_ratio
from torch import Tensor

from fuserec.models.two_tower import TwoTower
from fuserec.training.evaluate import CUTOFFS, evaluate

DIM, CHUNK, SPARSE = 64, 512, 0.015


def two_towers(*, tied: bool) -> TwoTower:
    """Random towers; tied ones are sparse and not negative, so that over 99 % of the scores are 0."""
    generator = torch.Generator().manual_seed(1)
    user, item = (torch.randn(rows, DIM, generator=generator) for rows in (USERS, ITEMS))
    if tied:
        user, item = (
            tower.clamp_min(0) * (torch.rand(tower.shape, generator=generator) < SPARSE)
            for tower in (user, item)
        )
    return TwoTower(user=user, item=item, fold=item, foldable=torch.ones(ITEMS, dtype=torch.bool))


def bare(user: Tensor, item: Tensor) -> None:
    """The product and the top-k, nothing masked, nothing measured."""
    for rows in user.split(CHUNK):
        torch.topk(rows @ item.T, max(CUTOFFS))


def measure(rounds: int) -> dict[str, Any]:
    """Seconds and ratio for scores without ties and for scores nearly all tied."""
    prepared = baby_sized()
    results: dict[str, Any] = {}
    for name, tied in (("two_towers", False), ("nearly_all_tied", True)):
        scorer = two_towers(tied=tied)
        times = interleaved(
            {
                "bare": partial(bare, scorer.user, scorer.item),
                "evaluate": partial(evaluate, scorer, prepared, part="test", users_per_chunk=CHUNK),
            },
            rounds,
        )
        results[name] = {
            "bare_seconds": statistics.median(times["bare"]),
            "evaluate_seconds": statistics.median(times["evaluate"]),
            "ratio": median_ratio(times, "evaluate", "bare"),
        }
    return results


if __name__ == "__main__":
    main(measure, __doc__, rounds=9)
