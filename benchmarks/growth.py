"""How the time of a training step grows with the interactions: seconds an edge at 1, 10 and 100 times Baby's size.

An edge is a training pair. Users and items grow with the pairs, so the mean degrees stay (`corpora.grown`); vectors are 64
wide and features 256 at every size. A step travels over the whole graph, so its time is told by edge; an epoch of a
fixed batch takes steps in proportion to the edges, and its time by edge grows with them by its definition.

    batch_fixed  2,048 pairs a step
    batch_grown  2,048 pairs times the size, so 59 steps an epoch at every size. Not for TMFUN: its contrast compares all
                 items of a batch with each other, so it is quadratic in the batch.

Told apart is what comes once an epoch: the draw of the pairs, their negatives and TMFUN plus's graphs ("once"), and the
search of TMFUN's learnt neighbours ("learnt"), which is quadratic in the items and measured up to --learnt times
Baby's size. The steps have ready graphs of 20 neighbours in each modality, about as many entries as TMFUN's frozen and learnt
graphs have together, and TMFUN plus's of content and behaviour (EASE is not solved for more than 20,000 items).
Every model and size has a process of its own. Bound: a step's time by edge at
most 1.5 times Baby's; docs/lab.md says where it is missed.

    python benchmarks/growth.py [--rounds 10] [--scales 1 10] [--models lightgcn tmfun tmfun_plus] [--learnt 1]
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice, pairwise
from typing import Any

import torch
from corpora import grown
from measure import parser_of, report

from fuserec.batch import Corpus, PairBatch
from fuserec.models.lightgcn import LightGcn, LightGcnConfig
from fuserec.models.modality_graph import ModalityGraph
from fuserec.models.tmfun import Tmfun
from fuserec.models.tmfun_config import TmfunConfig
from fuserec.models.tmfun_plus import TmfunPlus, TmfunPlusConfig
from fuserec.training.allocator import keep_freed_memory
from fuserec.training.loop import train_epoch
from fuserec.training.negatives import PairSampler
from fuserec.training.progress import Silent
from fuserec.training.seeds import named_generator

BATCH, NEIGHBOURS, WARM_UP = 2_048, 20, 2
WEIGHTS = {
    "lightgcn": {"bpr": 1.0, "l2": 1e-4},
    "tmfun": {"bpr": 1.0, "contrastive": 0.03, "l2": 1e-4},
    "tmfun_plus": {"bpr": 1.0, "l2": 0.0},
}


class FirstSteps(PairSampler):
    """An epoch drawn in full, of which only the first steps are made."""

    steps = 0

    def epoch(self) -> Iterator[PairBatch]:
        """The first batches."""
        return islice(super().epoch(), self.steps)


class Clock(Silent):
    """When each step ended, by the wall and by the processor."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.used: list[float] = []

    def step(self, advance: int = 1, **figures: float) -> None:
        """Look at the clock."""
        super().step(advance, **figures)
        self.ends.append(time.perf_counter())
        self.used.append(time.process_time())


def built(name: str, corpus: Corpus) -> LightGcn | Tmfun | TmfunPlus:
    """A model whose graphs of content are ready."""
    generator = named_generator(0, "init")
    if name == "lightgcn":
        return LightGcn(LightGcnConfig(), corpus, generator=generator)
    if name == "tmfun":
        return Tmfun(TmfunConfig(frozen_share=1.0), corpus, generator=generator)
    return TmfunPlus(TmfunPlusConfig(behaviour_weight=0.0), corpus, generator=generator)


def steps(
    name: str, model: LightGcn | Tmfun | TmfunPlus, corpus: Corpus, *, batch: int, rounds: int
) -> dict[str, float]:
    """The median step of the real loop, and what comes once an epoch."""
    sampler = FirstSteps(
        corpus,
        batch_size=batch,
        shuffle=named_generator(0, "shuffle"),
        negatives=named_generator(0, "negatives"),
    )
    sampler.steps = min(len(sampler), WARM_UP + rounds)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)  # as the loop has it
    clock = Clock()
    start = time.perf_counter()
    train_epoch(model, sampler, optimiser, WEIGHTS[name], device=torch.device("cpu"), progress=clock)
    step, used = (
        statistics.median(after - before for before, after in pairwise(marks[WARM_UP - 1 :]))
        for marks in (clock.ends, clock.used)
    )
    once = max(0.0, clock.ends[0] - start - step)
    return {
        "step_seconds": step,
        "step_ns_an_edge": step / len(corpus.train) * 1e9,
        "step_processor_ns_an_edge": used / len(corpus.train) * 1e9,
        "once_seconds": once,
        "once_ns_an_edge": once / len(corpus.train) * 1e9,
        "epoch_seconds": once + len(sampler) * step,
    }


def learnt(corpus: Corpus) -> float:
    """Seconds of one search of TMFUN's learnt neighbours, for all modalities."""
    generator = named_generator(0, "init")
    graphs = [ModalityGraph(TmfunConfig(), each, generator=generator) for each in corpus.modalities]
    start = time.perf_counter()
    for graph in graphs:
        graph.rebuild()
    return time.perf_counter() - start


def alone(name: str, scale: int, rounds: int, *, with_learnt: bool) -> dict[str, Any]:
    """One model at one size, in this process."""
    keep_freed_memory()
    corpus = grown(scale, neighbours=NEIGHBOURS)
    result: dict[str, Any] = {"edges": len(corpus.train)}
    model = built(name, corpus)
    result["batch_fixed"] = steps(name, model, corpus, batch=BATCH, rounds=rounds)
    if name != "tmfun":
        result["batch_grown"] = steps(name, model, corpus, batch=scale * BATCH, rounds=rounds)
    if with_learnt:  # last, for it leaves the memory in pieces
        result["learnt_seconds"] = learnt(corpus)
    return result


def measure(rounds: int, scales: list[int], models: list[str], up_to: int) -> dict[str, Any]:
    """Every model at every size, and the time by edge over that of the first size."""
    results: dict[str, Any] = {}
    for name in models:
        sizes: dict[str, Any] = {}
        for scale in scales:
            command = [sys.executable, __file__, "--rounds", str(rounds), "--alone", name, str(scale)]
            command += ["--learnt", str(up_to)]
            sizes[str(scale)] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
            print(f"{name} at {scale}: done", file=sys.stderr)
        first, last = sizes[str(scales[0])], sizes[str(scales[-1])]
        results[name] = {
            **sizes,
            **{
                f"growth_of_{unit}": {
                    batch: last[batch][unit] / first[batch][unit]
                    for batch in ("batch_fixed", "batch_grown")
                    if batch in first
                }
                for unit in ("step_ns_an_edge", "step_processor_ns_an_edge", "once_ns_an_edge")
            },
        }
    return results


if __name__ == "__main__":
    parser = parser_of(__doc__, rounds=10)
    parser.add_argument("--scales", type=int, nargs="+", default=[1, 10], help="times Baby's size")
    parser.add_argument("--models", nargs="+", default=sorted(WEIGHTS), choices=sorted(WEIGHTS))
    parser.add_argument("--learnt", type=int, default=1, help="largest size at which neighbours are learnt")
    parser.add_argument("--alone", nargs=2, metavar=("MODEL", "SCALE"), help="only this one, in this process")
    chosen = parser.parse_args()
    if chosen.alone:
        model_name, size = chosen.alone[0], int(chosen.alone[1])
        wanted = model_name == "tmfun" and size <= chosen.learnt
        print(json.dumps(alone(model_name, size, chosen.rounds, with_learnt=wanted)))
    else:
        report(
            chosen.rounds,
            partial(measure, scales=chosen.scales, models=chosen.models, up_to=chosen.learnt),
        )
