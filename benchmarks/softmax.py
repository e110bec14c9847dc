"""What a training step pays for a catalogue: the loss over it, and the optimiser's step on its table.

Forward and backward, width 64, for each size of catalogue (predictions in brackets: 8,192 of 3,416 items, 2,048 of
10,000, 1,024 of 100,000):

    softmax          the exact loss over all items
    cross_entropy    torch's, on the whole matrix of logits: the base of the speed-ups
    products         its three matrix products and nothing else: what no exact form does without
    sampled N        N negatives drawn uniformly, looked up with sparse gradients

Then one step on a table of a million rows, 5,000 of which have a gradient: RowAdam, and torch's SparseAdam, against torch's fused
Adam on a dense gradient.

Processor time where one thread works, so that a neighbour distorts little; wall time otherwise. Held, one thread: softmax at most 1.5
times its products at 3,416 items, and nowhere slower than cross_entropy; RowAdam at least 3 times as fast as Adam.

    python benchmarks/softmax.py [--rounds 7] [--threads 1] [--shrink 1]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from measure import interleaved, median_ratio, parser_of, report
from torch import Tensor
from torch.nn.functional import cross_entropy, embedding

from fuserec.losses import sampled_softmax, softmax
from fuserec.training.row_adam import RowAdam

DIM = 64
PREDICTIONS = {3_416: 8_192, 10_000: 2_048, 100_000: 1_024}
NEGATIVES = (256, 4_096)
TABLE, USED = 1_000_000, 5_000


def losses(items: int, predictions: int, negatives: tuple[int, ...]) -> dict[str, Callable[[], object]]:
    """All forms of the loss, each with its gradients; and the products."""
    generator = torch.Generator().manual_seed(0)
    query, item = (0.3 * torch.randn(n, DIM, generator=generator) for n in (predictions, items))
    target = torch.randint(items, (predictions,), generator=generator)
    leaves = query.clone().requires_grad_(), item.clone().requires_grad_()
    logits = torch.empty(predictions, items)
    of_query, of_item = torch.empty_like(query), torch.empty_like(item)

    def products() -> None:
        torch.mm(query, item.T, out=logits)
        torch.mm(logits, item, out=of_query)
        torch.mm(logits.T, query, out=of_item)

    def exact(loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        torch.autograd.grad(loss(leaves[0], leaves[1], target), leaves)

    def sampled(size: int) -> None:
        drawn = torch.randint(items, (size,), generator=generator)
        positive, negative = (embedding(rows, leaves[1], sparse=True) for rows in (target, drawn))
        expected = torch.full((size,), size / items).log()
        loss = sampled_softmax(
            leaves[0], positive, negative, target=target, negatives=drawn, log_expected=expected
        )
        torch.autograd.grad(loss, leaves)

    return {
        "products": products,
        "cross_entropy": partial(exact, lambda q, i, t: cross_entropy(q @ i.T, t)),
        "softmax": partial(exact, softmax),
        **{f"sampled {size}": partial(sampled, size) for size in negatives},
    }


def optimisers(table: int, used: int) -> dict[str, Callable[[], object]]:
    """A step of each optimiser on a table of its own."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(table, (used,), generator=generator)

    def on_table(
        of: Callable[[list[Tensor]], torch.optim.Optimizer], *, sparse: bool
    ) -> Callable[[], object]:
        leaf = torch.randn(table, DIM, generator=generator).requires_grad_()
        embedding(rows, leaf, sparse=sparse).sum().backward()
        return of([leaf]).step

    return {
        "adam": on_table(partial(torch.optim.Adam, fused=True), sparse=False),
        "sparse_adam": on_table(torch.optim.SparseAdam, sparse=True),
        "row_adam": on_table(RowAdam, sparse=True),
    }


def told(times: Mapping[str, list[float]], base: str) -> dict[str, Any]:
    """Seconds, and how many times as fast as the base each is."""
    return {
        "seconds": {name: statistics.median(taken) for name, taken in times.items()},
        "speedup": {name: median_ratio(times, base, name) for name in times if name != base},
    }


def measure(rounds: int, *, chosen: argparse.Namespace) -> dict[str, Any]:
    """Ratios for each size of catalogue, and of the optimisers."""
    clock = time.process_time if chosen.threads == 1 else time.perf_counter
    result: dict[str, Any] = {"clock": clock.__name__, "dim": DIM, "items": {}}
    for items, predictions in PREDICTIONS.items():
        runs = losses(
            items // chosen.shrink,
            predictions // chosen.shrink,
            tuple(size // chosen.shrink for size in NEGATIVES),
        )
        times = interleaved(runs, rounds, clock=clock)
        result["items"][str(items // chosen.shrink)] = {
            "predictions": predictions // chosen.shrink,
            **told(times, "cross_entropy"),
            "softmax_over_products": median_ratio(times, "softmax", "products"),
        }
    steps = optimisers(TABLE // chosen.shrink, USED // chosen.shrink)
    result["optimiser"] = {
        "rows": TABLE // chosen.shrink,
        "used": USED // chosen.shrink,
        **told(interleaved(steps, rounds, clock=clock), "adam"),
    }
    return result


if __name__ == "__main__":
    parser = parser_of(__doc__, rounds=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shrink", type=int, default=1, help="divides all sizes, to try the program")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    report(arguments.rounds, partial(measure, chosen=arguments))
