"""One step of propagation with its gradient, against torch's COO form with autograd.

Held: at least 1.8 times as fast.

    python benchmarks/propagation.py [--rounds 30]
"""

from __future__ import annotations

from typing import Any

import torch
from corpora import ITEMS, USERS, baby_sized
from measure import interleaved, main, median_ratio

from fuserec.ops.graph import SparseMatrix, bipartite_graph, layer_mean, propagate

DIM, LAYERS = 64, 2


def square_graph() -> SparseMatrix:
    """The graph of users and items in one matrix, as the COO form needs it."""
    pairs = baby_sized().corpus.train
    graph = bipartite_graph(pairs.users, pairs.items, num_users=USERS, num_items=ITEMS)
    rows, columns, values = graph.entries()
    return SparseMatrix.from_entries(
        torch.cat([rows, columns + USERS]),
        torch.cat([columns + USERS, rows]),
        torch.cat([values, values]),
        shape=(USERS + ITEMS, USERS + ITEMS),
    )


def measure(rounds: int) -> dict[str, Any]:
    """Seconds and ratios of a single step, and of the mean of two layers."""
    generator = torch.Generator().manual_seed(0)
    square = square_graph()
    rows, columns, values = square.entries()
    coo = torch.sparse_coo_tensor(
        torch.stack([rows, columns]), values, square.shape, check_invariants=True
    ).coalesce()
    pairs = baby_sized().corpus.train
    half = bipartite_graph(pairs.users, pairs.items, num_users=USERS, num_items=ITEMS)
    x = torch.randn(USERS + ITEMS, DIM, generator=generator, requires_grad=True)
    user, item = (part.clone().detach().requires_grad_() for part in x.split([USERS, ITEMS]))
    gradient = torch.randn(USERS + ITEMS, DIM, generator=generator)

    def coo_step() -> None:
        torch.autograd.grad(torch.sparse.mm(coo, x), x, gradient)

    def our_step() -> None:
        torch.autograd.grad(propagate(square, x), x, gradient)

    def coo_layers() -> None:
        layers = [x]
        for _ in range(LAYERS):
            layers.append(torch.sparse.mm(coo, layers[-1]))
        torch.autograd.grad(torch.stack(layers).mean(0), x, gradient)

    def our_layers() -> None:
        outputs = layer_mean(half, user, item, num_layers=LAYERS)
        torch.autograd.grad(outputs, (user, item), gradient.split([USERS, ITEMS]))

    times = interleaved(
        {"coo_step": coo_step, "our_step": our_step, "coo_layers": coo_layers, "our_layers": our_layers},
        rounds,
    )
    return {
        "step_speedup": median_ratio(times, "coo_step", "our_step"),
        "two_layers_speedup": median_ratio(times, "coo_layers", "our_layers"),
        "seconds": {name: sorted(values)[len(values) // 2] for name, values in times.items()},
    }


if __name__ == "__main__":
    main(measure, __doc__, rounds=30)
