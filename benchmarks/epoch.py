"""An epoch of LightGCN against its bare arithmetic, epochs of TMFUN and FREEDOM against LightGCN's, TMFUN plus's against TMFUN's.

Bare arithmetic: LightGCN's sparse products, forward and backward, and its optimiser steps, timed alone.
Held: LightGCN at most 1.5 times that; of LightGCN's, TMFUN's at most 3 times and FREEDOM's at most 1.2 times; of TMFUN's,
TMFUN plus's at most 2 times; with what they rebuild once an epoch.

    python benchmarks/epoch.py [--rounds 15] [--prepared FILE]

Without a prepared dataset (.npz) the data is generated with the size of Amazon Baby; its features are more at odds with
the learnt graph than real ones, which makes TMFUN's graphs denser.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from corpora import baby_sized
from measure import interleaved, median_ratio, parser_of, report

from fuserec.batch import Corpus
from fuserec.models.freedom import Freedom, FreedomConfig
from fuserec.models.lightgcn import LightGcn, LightGcnConfig
from fuserec.models.tmfun import Tmfun
from fuserec.models.tmfun_config import TmfunConfig
from fuserec.models.tmfun_plus import TmfunPlus, TmfunPlusConfig
from fuserec.ops.graph import layer_mean
from fuserec.training.loop import train_epoch
from fuserec.training.negatives import PairSampler
from fuserec.training.prepared import load_prepared
from fuserec.training.progress import Silent
from fuserec.training.seeds import named_generator

BATCH = 2048
WEIGHTS = {
    "lightgcn": {"bpr": 1.0, "l2": 1e-4},
    "freedom": {"bpr": 1.0, "content": 1e-3},
    "tmfun": {"bpr": 1.0, "contrastive": 0.03, "l2": 1e-4},
    "tmfun_plus": {"bpr": 1.0, "l2": 0.0},
}


def optimiser(model: torch.nn.Module) -> torch.optim.Adam:
    """As the loop has it."""
    return torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)


def bare_epoch(model: LightGcn, steps: int, adam: torch.optim.Adam) -> None:
    """The products and the optimiser steps of one epoch, nothing else."""
    tables = [model.collaborative.user.detach(), model.collaborative.item.detach()]
    layers = model.config.num_layers
    for table in model.parameters():
        table.grad = torch.zeros_like(table)
    with torch.no_grad():
        for _ in range(steps):
            forward = layer_mean(model.collaborative.graph.matrix, *tables, num_layers=layers)
            layer_mean(model.collaborative.graph.matrix, *forward, num_layers=layers)
            adam.step()


def measure(rounds: int, prepared: Path | None) -> dict[str, Any]:
    """Seconds an epoch and the ratios."""
    corpus = (baby_sized() if prepared is None else load_prepared(prepared)).corpus
    generator = named_generator(0, "init")
    lightgcn = LightGcn(LightGcnConfig(), corpus, generator=generator)
    tmfun = Tmfun(TmfunConfig(), corpus, generator=generator)
    freedom = Freedom(FreedomConfig(weights={"image": 0.1, "text": 0.9}), corpus, generator=generator)
    tmfun_plus = TmfunPlus(TmfunPlusConfig(weights={"image": 0.1, "text": 0.9}), corpus, generator=generator)
    times = interleaved(
        {
            "bare": partial(bare_epoch, lightgcn, len(sampler(corpus)), optimiser(lightgcn)),
            "lightgcn": epoch(lightgcn, corpus, "lightgcn"),
            "tmfun": epoch(tmfun, corpus, "tmfun"),
            "freedom": epoch(freedom, corpus, "freedom"),
            "tmfun_plus": epoch(tmfun_plus, corpus, "tmfun_plus"),
        },
        rounds,
    )
    return {
        "data": "generated" if prepared is None else prepared.stem,
        "lightgcn_over_bare": median_ratio(times, "lightgcn", "bare"),
        "tmfun_over_lightgcn": median_ratio(times, "tmfun", "lightgcn"),
        "freedom_over_lightgcn": median_ratio(times, "freedom", "lightgcn"),
        "tmfun_plus_over_tmfun": median_ratio(times, "tmfun_plus", "tmfun"),
        "seconds": {name: sorted(values)[len(values) // 2] for name, values in times.items()},
    }


def sampler(corpus: Corpus) -> PairSampler:
    """As the loop has it."""
    return PairSampler(
        corpus,
        batch_size=BATCH,
        shuffle=named_generator(0, "shuffle"),
        negatives=named_generator(0, "negatives"),
    )


def epoch(
    model: LightGcn | Tmfun | Freedom | TmfunPlus, corpus: Corpus, name: str
) -> partial[dict[str, float]]:
    """One epoch of the real loop."""
    return partial(
        train_epoch,
        model,
        sampler(corpus),
        optimiser(model),
        WEIGHTS[name],
        device=torch.device("cpu"),
        progress=Silent(),
    )


if __name__ == "__main__":
    parser = parser_of(__doc__, rounds=15)
    parser.add_argument("--prepared", type=Path, help="a .npz written by fuserec.training.prepared")
    chosen = parser.parse_args()
    report(chosen.rounds, partial(measure, prepared=chosen.prepared))
