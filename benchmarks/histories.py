"""Training on long histories, whole steps: sparse attention against dense, at equal width and depth.

A step is all that the loop does: embedding, attention, feed-forward, loss, backward, optimiser. "dense" is SASRec, "sparse" is MUFASA
that knows items by their IDs (similarity "dot", block evolution on); both have width 64, two heads, two layers, dropout .2,
and see the same generated histories with 10,000 items. "sampled" is the softmax over 256 shared negatives, drawn evenly, with sparse
gradients; "softmax" that over all items. Told are, for every length, the median over the rounds of dense seconds per second of
sparse, and microseconds an event. About --events events make a step, in one history at least.

"memory_mib" is what one step on one history takes at most above the model, its optimiser and the data, sampled loss, in a process
of its own; freed memory goes back there.

"epoch" has lengths as MovieLens-1M has them (log-normal, median 96, mean about 165, at most 2,314) and as many items, 4,096
events a step, softmax over all items: how many seconds a second of dense takes, time over that of its matrix products at the
rate of a product of 1024 x 1024 x 1024 in the same rounds (6 a weight and row: forward, and backward twice; 14 D for each key that
attention asks for, as in benchmarks/attention.py), and rows that the blocks compute beyond the events.

Processor time where one thread works, so that a neighbour distorts little; wall time otherwise. Held, one thread: sparse at least
2 times as fast as dense at 4,000 events and 6 times at 16,000, sampled; memory linear in the length; of an epoch, sparse at most
1.3 times dense, dense and sparse at most 2.5 times their products, padding at most 15 %.

    python benchmarks/histories.py [--rounds 7] [--threads 1] [--lengths 500 4000] [--events 16000]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from attention import PRODUCT_SIDE, product
from attention_forms import BLOCK, SELECTED, keys_seen
from measure import interleaved, median_ratio, parser_of, report
from peak_memory import available, peak_above

from fuserec.batch import Corpus, Histories
from fuserec.models.mufasa import Mufasa
from fuserec.models.mufasa_config import MufasaConfig
from fuserec.models.next_item import NextItemById
from fuserec.models.sasrec import SasrecConfig, sasrec
from fuserec.ops.attention.native import operator as native
from fuserec.testing.planted.layout import corpus_of, zipf
from fuserec.testing.planted.long_histories import long_histories
from fuserec.training.batches import HistorySampler
from fuserec.training.config import TrainConfig
from fuserec.training.loop import optimiser_for, train_epoch
from fuserec.training.progress import Silent

LENGTHS = (500, 1000, 2000, 4000, 8000, 16_000, 50_000)
DIM, HEADS, LAYERS = 64, 2, 2
WINDOW, GROUP = 64, 8
ITEMS, INTERESTS, NEGATIVES = 10_000, 500, 256
EPOCH_ITEMS, EPOCH_BATCH = 3_416, 4_096
MEDIAN_LENGTH, MEAN_LENGTH, MOST = 96, 165, 2_314
FORMS, LOSSES = ("dense", "sparse"), ("sampled", "softmax")
WARM_UP_LENGTH = 200


def model_of(form: str, loss: str, corpus: Corpus) -> NextItemById | Mufasa:
    """A model at the start of training."""
    generator = torch.Generator().manual_seed(0)
    options: dict[str, Any] = {
        "dim": DIM,
        "heads": HEADS,
        "num_layers": LAYERS,
        "loss": loss,
        "num_negatives": NEGATIVES,
    }
    if form == "dense":
        return sasrec(SasrecConfig(**options), corpus, generator=generator)
    pattern: dict[str, Any] = {"window": WINDOW, "block": BLOCK, "selected": SELECTED, "group": GROUP}
    return Mufasa(
        MufasaConfig(items="id", similarity="dot", evolution=True, **pattern, **options),
        corpus,
        generator=generator,
    )


class Training:
    """A model that the real loop trains, an epoch at a call."""

    def __init__(self, form: str, loss: str, corpus: Corpus, *, batch_size: int) -> None:
        self.model = model_of(form, loss, corpus)
        self.sampler = HistorySampler(corpus, batch_size=batch_size, shuffle=torch.Generator().manual_seed(0))
        self.optimiser = optimiser_for(self.model, TrainConfig(weight_decay=0.01))

    def epoch(self) -> dict[str, float]:
        """One pass over all histories."""
        return train_epoch(
            self.model,
            self.sampler,
            self.optimiser,
            {"softmax": 1.0},
            device=torch.device("cpu"),
            progress=Silent(),
        )


def long(histories: int, length: int) -> Corpus:
    """Histories of interests at three scales; where they are long enough, some come back after a thousand events."""
    made = long_histories(
        histories,
        length,
        generator=torch.Generator().manual_seed(0),
        num_items=ITEMS,
        num_interests=INTERESTS,
    )
    return corpus_of(made.histories, ITEMS)


def at_length(length: int, rounds: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """Steps of all forms and losses at one length."""
    histories = max(1, chosen.events // length)
    corpus = long(histories, length)
    forms = FORMS if length <= chosen.dense_to else FORMS[1:]
    runs: dict[str, Callable[[], object]] = {
        f"{form} {loss}": Training(form, loss, corpus, batch_size=histories * length).epoch
        for loss in LOSSES
        for form in forms
    }
    times = interleaved(runs, rounds, clock=clock(chosen))
    return {
        "histories": histories,
        "microseconds": {
            name: statistics.median(taken) / (histories * length) * 1e6 for name, taken in times.items()
        },
        "speedup": {
            loss: median_ratio(times, f"dense {loss}", f"sparse {loss}")
            for loss in LOSSES
            if f"dense {loss}" in times
        },
    }


def like_movielens(events: int) -> Corpus:
    """Histories of as many lengths as MovieLens-1M has them, of about so many events together."""
    generator = torch.Generator().manual_seed(0)
    spread = math.sqrt(2 * math.log(MEAN_LENGTH / MEDIAN_LENGTH))
    normal = torch.randn(max(1, events // MEAN_LENGTH), generator=generator)
    lengths = (MEDIAN_LENGTH * (spread * normal).exp()).long().clamp(1, MOST)
    items = torch.randperm(EPOCH_ITEMS, generator=generator)[
        zipf(int(lengths.sum()), EPOCH_ITEMS, exponent=0.8, generator=generator)
    ]
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    return corpus_of(Histories(items=items, offsets=offsets), EPOCH_ITEMS)


def operations(form: str, corpus: Corpus) -> int:
    """Multiplications and additions of an epoch's matrix products, forward and backward."""
    lengths: list[int] = Histories.of(corpus.train, num_users=corpus.num_users).lengths.tolist()
    events, width = len(corpus.train), DIM // HEADS
    weights = LAYERS * 12 * DIM * DIM + EPOCH_ITEMS * DIM
    if form == "dense":
        return 6 * events * weights + LAYERS * HEADS * 14 * width * sum(n * (n + 1) // 2 for n in lengths)
    blocks = [-(-n // BLOCK) for n in lengths]
    keys = sum(keys_seen(n, window=WINDOW) for n in lengths) + sum(n * (n + 1) // 2 for n in blocks)
    evolution = LAYERS * 4 * DIM * DIM
    return 6 * (events * weights + sum(blocks) * evolution) + LAYERS * HEADS * 14 * width * keys


def whole_epoch(rounds: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """An epoch with lengths as real ones are."""
    corpus = like_movielens(chosen.epoch_events)
    trainings = {
        form: Training(form, "softmax", corpus, batch_size=min(EPOCH_BATCH, chosen.epoch_events))
        for form in FORMS
    }
    runs: dict[str, Callable[[], object]] = {form: one.epoch for form, one in trainings.items()}
    times = interleaved({**runs, "product": product()}, rounds, clock=clock(chosen))
    a_product = 2 * PRODUCT_SIDE**3
    return {
        "events": len(corpus.train),
        "histories": corpus.num_users,
        "seconds": {form: statistics.median(times[form]) for form in FORMS},
        "sparse_over_dense": median_ratio(times, "sparse", "dense"),
        "over_products": {
            form: median_ratio(times, form, "product") * a_product / operations(form, corpus)
            for form in FORMS
        },
        "product_gflops": a_product / statistics.median(times["product"]) / 1e9,
        "padding": {form: padding(one, len(corpus.train)) for form, one in trainings.items()},
    }


def padding(training: Training, events: int) -> float:
    """Rows that the blocks compute in an epoch, above one an event."""
    rows = 0

    def count(encoder: torch.nn.Module, inputs: tuple[Any, ...]) -> None:  # noqa: ARG001
        nonlocal rows
        rows += len(inputs[0])

    hook = training.model.next_item.encoder.blocks[0].register_forward_pre_hook(count)
    training.epoch()
    hook.remove()
    return rows / events - 1


def peak(form: str, length: int) -> float:
    """MiB above model, optimiser and data of a step on one history, in this process."""
    corpus = long(1, length)
    training = Training(form, "sampled", corpus, batch_size=length)
    # a short history first: code is loaded, and the optimiser has its moments
    short = Training(form, "sampled", long(1, min(length, WARM_UP_LENGTH)), batch_size=length)
    short.model, short.optimiser = training.model, training.optimiser
    short.epoch()
    return peak_above(training.epoch)


def peak_of_own_process(form: str, length: int) -> float:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--threads", str(torch.get_num_threads())]
    command += ["--peak", form, str(length)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def clock(chosen: argparse.Namespace) -> Callable[[], float]:
    """What seconds are read from."""
    return time.process_time if chosen.threads == 1 else time.perf_counter


def measure(rounds: int, *, chosen: argparse.Namespace) -> dict[str, Any]:
    """Time at every length, memory, and an epoch."""
    result: dict[str, Any] = {
        "clock": clock(chosen).__name__,
        "attention": "native" if native.built() else "blocked",
        "dim": DIM,
        "heads": HEADS,
        "layers": LAYERS,
        "pattern": {"window": WINDOW, "block": BLOCK, "selected": SELECTED, "group": GROUP},
        "items": ITEMS,
        "negatives": NEGATIVES,
        "lengths": {},
        "memory_mib": {},
    }
    for length in chosen.lengths:
        result["lengths"][str(length)] = at_length(length, rounds, chosen)
        print(f"{length}: done", file=sys.stderr)
    for length in chosen.memory if available() else ():
        forms = FORMS if length <= chosen.dense_to else FORMS[1:]
        result["memory_mib"][str(length)] = {form: peak_of_own_process(form, length) for form in forms}
        print(f"memory at {length}: done", file=sys.stderr)
    result["epoch"] = whole_epoch(rounds, chosen)
    return result


if __name__ == "__main__":
    parser = parser_of(__doc__, rounds=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="of the histories")
    parser.add_argument("--events", type=int, default=16_000, help="of a step, about")
    parser.add_argument("--dense-to", type=int, default=16_000, help="longest history for dense attention")
    parser.add_argument("--memory", type=int, nargs="*", default=LENGTHS, help="lengths for memory")
    parser.add_argument("--epoch-events", type=int, default=98_700, help="of the epoch, about")
    parser.add_argument("--peak", nargs=2, metavar=("FORM", "LENGTH"), help="only memory, in this process")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.peak:
        print(json.dumps(peak(arguments.peak[0], int(arguments.peak[1]))))
    else:
        report(arguments.rounds, partial(measure, chosen=arguments))
