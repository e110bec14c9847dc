"""Sparse attention over histories of different lengths: padded to the batch's longest, in buckets, and packed.

Forward and backward with random upstream gradients; every round takes the next batch of histories, and all forms the same
one. The native form is measured where it is compiled. Lengths are drawn log-normal, or taken from a file.

    python benchmarks/ragged.py [--rounds 20] [--lengths FILE] [--histories 64] [--window 128] [--block 32]
"""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from measure import interleaved, median_ratio, parser_of, report
from torch import Tensor

from fuserec.ops.attention.dispatch import Implementation, multi_granularity
from fuserec.ops.attention.native import operator as native
from fuserec.ops.attention.ragged import length_buckets

HEADS, DIM, SELECTED, GROUP = 2, 64, 4, 8
MEAN, SIGMA, LONGEST = 151, 0.8, 1000


def drawn(count: int, generator: torch.Generator) -> Tensor:
    """Lengths whose mean is about that of a catalogue of films, with a few very long ones."""
    logarithms = math.log(MEAN) - SIGMA**2 / 2 + SIGMA * torch.randn(count, generator=generator)
    return logarithms.exp().long().clamp(1, LONGEST)


def read(path: Path) -> Tensor:
    """Lengths from a .npy file, or from text with one a line."""
    lengths = np.load(path, allow_pickle=False) if path.suffix == ".npy" else np.loadtxt(path, ndmin=1)
    return torch.as_tensor(lengths).long()


def batches_of(count: int, lengths: Tensor | None, batches: int) -> list[Tensor]:
    """The lengths of every batch: of ``count`` histories without replacement, or drawn."""
    generator = torch.Generator().manual_seed(0)
    if lengths is None:
        return [drawn(count, generator) for _ in range(batches)]
    return [lengths[torch.randperm(len(lengths), generator=generator)[:count]] for _ in range(batches)]


def step(
    form: Implementation, *, pack: bool, lengths: Tensor, rows: Tensor, gates: Tensor, **pattern: int
) -> None:
    """Forward and backward of one batch, as projections hand it over: heads after positions in memory.

    Args:
        form: which one.
        pack: packed with offsets, or padded to the longest.
        lengths: of the batch.
        rows: (4, rows enough, HEADS, DIM) any numbers for q, k, v and the upstream gradient.
        gates: (rows enough, HEADS, 3).
        pattern: of the attention.
    """
    if pack:
        size = int(lengths.sum())
        q, k, v, upstream = rows[:, :size]
        gates = gates[:size]
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        where = {"offsets": offsets.int()}
    else:
        shape = (len(lengths), int(lengths.max()))
        q, k, v, upstream = rows[:, : shape[0] * shape[1]].unflatten(1, shape).transpose(2, 3)
        gates = gates[: shape[0] * shape[1]].unflatten(0, shape)
        where = {"lengths": lengths}
    q, k, v, gates = inputs = [x.detach().requires_grad_() for x in (q, k, v, gates)]
    out = multi_granularity(q, k, v, gates, implementation=form, **where, **pattern)  # type: ignore[arg-type]
    torch.autograd.grad(out, inputs, upstream)


def measure(rounds: int, *, chosen: argparse.Namespace) -> dict[str, Any]:
    """Seconds of every form, ratios within a round, and how much is padded."""
    known = None if chosen.lengths is None else read(chosen.lengths)
    batches = batches_of(chosen.histories, known, rounds + 1)
    most = max(len(lengths) * int(lengths.max()) for lengths in batches)
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(4, most, HEADS, DIM, generator=generator)
    gates = torch.rand(most, HEADS, 3, generator=generator)
    pattern = {"window": chosen.window, "block": chosen.block, "selected": SELECTED, "group": GROUP}

    def of_each_batch(form: Implementation, *, pack: bool) -> Callable[[], None]:
        following = iter(batches)
        return lambda: step(form, pack=pack, lengths=next(following), rows=rows, gates=gates, **pattern)

    runs = {
        "padded_blocked": of_each_batch("blocked", pack=False),
        "buckets_blocked": of_each_batch("blocked", pack=True),
    }
    ratios = {"buckets_speedup": ("padded_blocked", "buckets_blocked")}
    if native.built():
        runs["padded_native"] = of_each_batch("native", pack=False)
        runs["packed_native"] = of_each_batch("native", pack=True)
        ratios["packed_speedup"] = ("padded_native", "packed_native")
        ratios["native_over_blocked"] = ("buckets_blocked", "packed_native")
    times = interleaved(runs, rounds)
    return {
        "lengths": "drawn" if known is None else "given",
        "histories": chosen.histories,
        "mean_length": round(torch.cat(batches).double().mean().item(), 1),
        **pattern,
        "rows_per_event_padded": median(_rows_per_event(x, [torch.arange(len(x))]) for x in batches),
        "rows_per_event_in_buckets": median(_rows_per_event(x, length_buckets(x)) for x in batches),
        "buckets": median(len(length_buckets(x)) for x in batches),
        **{name: median_ratio(times, above, below) for name, (above, below) in ratios.items()},
        "seconds": {name: median(values) for name, values in times.items()},
    }


def _rows_per_event(lengths: Tensor, buckets: list[Tensor]) -> float:
    return sum(len(bucket) * int(lengths[bucket].max()) for bucket in buckets) / int(lengths.sum())


if __name__ == "__main__":
    parser = parser_of(__doc__, rounds=20)
    parser.add_argument("--lengths", type=Path, help="a .npy file, or text with a length a line")
    parser.add_argument("--histories", type=int, default=64, help="of a batch")
    parser.add_argument("--window", type=int, default=128)
    parser.add_argument("--block", type=int, default=32)
    arguments = parser.parse_args()
    report(arguments.rounds, functools.partial(measure, chosen=arguments))
