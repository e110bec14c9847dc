"""Full-ranking evaluation against its bare arithmetic: one product and one top-k a chunk.

Both run in the same process, in turn, so that the ratio means something on a busy machine. Unless a
prepared dataset is given, the data are generated with the size of Amazon Baby (19,445 users, 7,050 items,
119,674 training pairs and two held-out parts of 20,559). The scores are products of random towers of
width 64; a second pair of towers gives nearly every item the score 0, as a content-based neighbourhood
does, so that every list ends in a tie.

    python benchmarks/evaluation.py [--rounds 9] [--prepared FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from fuserec.batch import Corpus, Pairs, Prepared
from fuserec.models.two_tower import TwoTower
from fuserec.training.evaluate import CUTOFFS, evaluate
from fuserec.training.prepared import load_prepared

__all__ = ["measure"]

USERS, ITEMS, DIM = 19_445, 7_050, 64
TRAIN, HELD_OUT = 119_674, 20_559
CHUNK = 512
SPARSE = 0.015


def generated() -> Prepared:
    """Pairs with a long-tailed popularity, at least one of each part for every user."""
    generator = torch.Generator().manual_seed(0)

    def pairs(count: int) -> Pairs:
        extra = torch.randint(0, USERS, (count - USERS,), generator=generator)
        users = torch.cat([torch.arange(USERS), extra]).sort().values
        items = (torch.rand(count, generator=generator) ** 3 * ITEMS).long()
        return Pairs(users=users, items=items)

    return Prepared(
        corpus=Corpus(num_users=USERS, num_items=ITEMS, train=pairs(TRAIN)),
        valid=pairs(HELD_OUT),
        test=pairs(HELD_OUT),
        split="generated",
        repeats=False,
        dataset_hash="generated",
        split_hash="generated",
    )


def two_towers(corpus: Corpus, *, tied: bool) -> TwoTower:
    """Random towers; tied ones are sparse and not negative, so that over 99 % of the scores are 0."""
    generator = torch.Generator().manual_seed(1)
    user = torch.randn(corpus.num_users, DIM, generator=generator)
    item = torch.randn(corpus.num_items, DIM, generator=generator)
    if tied:
        user = user.clamp_min(0) * (torch.rand(user.shape, generator=generator) < SPARSE)
        item = item.clamp_min(0) * (torch.rand(item.shape, generator=generator) < SPARSE)
    return TwoTower(user=user, item=item, fold=item, foldable=torch.ones(len(item), dtype=torch.bool))


def bare(user: Tensor, item: Tensor) -> None:
    """The product and the top-k, nothing masked, nothing measured."""
    for rows in user.split(CHUNK):
        torch.topk(rows @ item.T, max(CUTOFFS))


def measure(rounds: int = 9, prepared: Prepared | None = None) -> dict[str, object]:
    """Median seconds, and the median of the rounds' ratios; a first round is a warm-up."""
    data = prepared or generated()
    results: dict[str, object] = {
        "data": data.split_hash,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "rounds": rounds,
    }
    for name, tied in (("two_towers", False), ("nearly_all_tied", True)):
        scorer = two_towers(data.corpus, tied=tied)
        times = _interleaved(
            {
                "bare": partial(bare, scorer.user, scorer.item),
                "evaluate": partial(evaluate, scorer, data, part="test", users_per_chunk=CHUNK),
            },
            rounds,
        )
        ratios = [a / b for a, b in zip(times["evaluate"], times["bare"], strict=True)]
        results[name] = {
            "bare_seconds": statistics.median(times["bare"]),
            "evaluate_seconds": statistics.median(times["evaluate"]),
            "ratio": statistics.median(ratios),
        }
    return results


def _interleaved(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: values[1:] for name, values in times.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--prepared", type=Path, help="a .npz written by fuserec.training.prepared")
    chosen = parser.parse_args()
    given = None if chosen.prepared is None else load_prepared(chosen.prepared)
    print(json.dumps(measure(chosen.rounds, given), indent=2))
