"""Does a neighbour graph or a feature matrix know held-out events?

Nothing says what it was computed from, but a graph made from the interactions of a shop remembers single events: the item
of a held-out event stands beside what the same user has. Content stands beside it only as far as taste goes. How
far is far? Two graphs that we make of the same dataset tell: one of the training events alone (what may be known) and one of
the training and the held-out events (what a leak would know). A graph more than half way from the first to the second is taken for
a leak. Half way, since whoever computes it from all events comes out near 1 and whoever does not near 0 or below, whatever the
dataset; and by two standard errors, since few held-out events say little.

Shape legend
    E  held-out events   I  items   K  neighbours   T  events of all histories together   P  entries of histories
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FEWEST_EVENTS",
    "Knowledge",
    "Yardsticks",
    "knowledge",
    "nearest_rows",
    "of_factors",
    "of_shared_users",
    "remembered",
]

MOST_EVENTS = 20_000
"""Held-out events looked at; more make the figure no clearer."""

FEWEST_EVENTS = 100
"""Fewer cannot tell luck from knowledge."""

_Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Knowledge:
    """How much of the held-out events a graph knows.

    Attributes:
        events: held-out events looked at.
        share: 0 is what training events tell, 1 what the held-out events themselves tell; None where the
            two cannot be told apart.
        leak: more than half way, by two standard errors.
    """

    events: int
    share: float | None
    leak: bool


@dataclass(frozen=True, slots=True)
class Yardsticks:
    """(I, K) neighbours by training events alone, and by training and held-out events."""

    clean: _Rows
    leaky: _Rows


def remembered(
    neighbours: _Rows, users: _Rows, items: _Rows, history_users: _Rows, history_items: _Rows
) -> NDArray[np.bool_]:
    """(E,) whether another item of the user's history is a neighbour of the event's item.

    Args:
        neighbours: (I, K) item rows, -1 where there is none.
        users: (E,) of the events.
        items: (E,) of the events.
        history_users: (T,) of the histories.
        history_items: (T,) of the histories.
    """
    num_users = int(max(users.max(initial=-1), history_users.max(initial=-1))) + 1
    lengths = np.bincount(history_users, minlength=num_users)
    starts = lengths.cumsum() - lengths
    by_user = history_items[np.argsort(history_users, kind="stable")]
    event = np.repeat(np.arange(len(users)), lengths[users])
    place = np.arange(len(event)) - np.repeat(lengths[users].cumsum() - lengths[users], lengths[users])
    had = by_user[starts[users[event]] + place]
    beside = np.zeros(len(event), dtype=bool)
    for column in neighbours.T:
        beside |= column[items[event]] == had
    beside &= had != items[event]
    return np.bincount(event[beside], minlength=len(users)) > 0


def knowledge(
    neighbours: _Rows,
    yardsticks: Yardsticks,
    users: _Rows,
    items: _Rows,
    history_users: _Rows,
    history_items: _Rows,
) -> Knowledge:
    """Where a graph stands between the two yardsticks.

    What is compared is how often an event is remembered, less how often it is with the items of the events
    dealt out anew: so a graph gains nothing by naming popular items everywhere.

    Args:
        neighbours: (I, K) of the graph in question.
        yardsticks: of the same dataset, with as many neighbours.
        users: (E,) of the held-out events.
        items: (E,) of the held-out events.
        history_users: (T,) of the histories in which the neighbours are looked for.
        history_items: (T,) of the histories.
    """
    generator = np.random.default_rng(0)
    chosen = generator.permutation(len(users))[:MOST_EVENTS]
    users, items = users[chosen], items[chosen]
    if len(users) < FEWEST_EVENTS:
        return Knowledge(len(users), None, leak=False)
    dealt = generator.permutation(items)

    def gain(graph: _Rows) -> NDArray[np.float64]:
        real, chance = (remembered(graph, users, of, history_users, history_items) for of in (items, dealt))
        return real.astype(np.float64) - chance

    graph, clean, leaky = (gain(one) for one in (neighbours, yardsticks.clean, yardsticks.leaky))
    gap = leaky - clean
    if _standard_errors(gap) < 4:
        return Knowledge(len(users), None, leak=False)
    share = float((graph - clean).mean() / gap.mean())
    return Knowledge(len(users), share, leak=_standard_errors(graph - (clean + leaky) / 2) > 2)


def of_shared_users(users: _Rows, items: _Rows, *, num_users: int, num_items: int, k: int) -> _Rows:
    """(I, k) the items that share the most users, by cosine; -1 where there are no more.

    The yardstick for graphs.
    """
    import torch

    from fuserec.batch import Pairs
    from fuserec.ops.cooccurrence import cooccurrence_blocks

    pairs = Pairs(users=torch.tensor(users), items=torch.tensor(items))
    sizes = torch.bincount(pairs.distinct(num_items=num_items).items, minlength=num_items).float()
    found = np.full((num_items, k), -1, dtype=np.int64)
    for rows, counts in cooccurrence_blocks(pairs, num_users=num_users, num_items=num_items):
        cosine = counts / (sizes[rows, None] * sizes).sqrt().clamp(min=1)
        cosine.diagonal(rows.start).zero_()
        weights, columns = cosine.topk(min(k, num_items), dim=1)
        found[rows, : columns.shape[1]] = torch.where(weights > 0, columns, -1).numpy()
    return found


def of_factors(users: _Rows, items: _Rows, *, num_users: int, num_items: int, rank: int, k: int) -> _Rows:
    """(I, k) neighbours by cosine of the leading singular vectors of the user-item matrix; -1 where there are no more.

    The yardstick for features.
    """
    import torch

    from fuserec.batch import Pairs
    from fuserec.ops.graph import SparseMatrix

    pairs = Pairs(users=torch.tensor(users), items=torch.tensor(items)).distinct(num_items=num_items)
    matrix = SparseMatrix.from_entries(
        pairs.users, pairs.items, torch.ones(len(pairs)), shape=(num_users, num_items)
    )
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(num_items, min(num_users, num_items, rank + 16), generator=generator)
    for _ in range(5):
        basis = torch.linalg.qr(matrix.backward @ (matrix.forward @ basis))[0]
    # Within the subspace the exact singular vectors come from a small matrix.
    inside = matrix.forward @ basis
    squares, turn = torch.linalg.eigh(inside.T @ inside)
    vectors = basis @ turn.flip(1)[:, :rank] * squares.flip(0)[:rank].clamp(min=0).sqrt()
    return nearest_rows(vectors.numpy(), k)


def _standard_errors(values: NDArray[np.float64]) -> float:
    """The mean of the values in its own standard errors; 0 where all are 0."""
    error = values.std() / np.sqrt(len(values))
    return float(values.mean() / error) if error > 0 else 0.0


def nearest_rows(features: NDArray[np.float32], k: int) -> _Rows:
    """(I, k) the rows of highest cosine; -1 where there are no more, and for rows of zeros."""
    import torch

    from fuserec.ops.nearest import float32_knn

    rows = torch.tensor(features)
    return float32_knn(rows, rows.any(dim=1), k).neighbours.numpy()
