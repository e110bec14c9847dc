"""Graphs of which training sees another part in every epoch.

Shape legend
    N  rows   M  columns   U  users   I  items   E  entries of a graph   C  entries kept
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fuserec.nn.frozen_graph import FrozenGraph
from fuserec.ops.graph import SparseMatrix, bipartite_graph
from fuserec.shapes import Float, Int

__all__ = ["EpochDraw", "PrunedGraph", "ThinnedGraph", "prune", "thin"]


class EpochDraw(nn.Module):
    """A generator for every epoch, from one seed.

    The seed and the count are part of the saved state, so that training that goes on later draws as it would have.

    Args:
        generator: draws the seed.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("seed", torch.randint(2**62, (), generator=generator))
        self.register_buffer("epochs_begun", torch.zeros((), dtype=torch.int64))

    seed: Int[Tensor, ""]
    epochs_begun: Int[Tensor, ""]

    def next(self) -> torch.Generator:
        """The generator of the epoch that begins."""
        self.epochs_begun += 1
        # counts that differ make seeds that differ, so no epoch of a model draws as another
        return torch.Generator().manual_seed(int(self.seed) ^ int(self.epochs_begun))


class PrunedGraph(nn.Module):
    """A user-item graph that keeps a share of the pairs in each epoch, normalised by what is left.

    Paper: FREEDOM Eq. (4) and (5), as docs/papers/freedom.md numbers them. The whole graph is not kept: it is that of
    `fuserec.nn.Collaborative`, which every model that prunes has beside this, and at scale it is the largest one.

    Args:
        full: (U, I) the whole graph, with weights 1 / sqrt(d_u d_i).
        share: of the pairs to keep, above 0, at most 1; with 1 the graph is the whole one.
        generator: draws the seed of the pruning.
    """

    def __init__(self, full: SparseMatrix, *, share: float, generator: torch.Generator) -> None:
        super().__init__()
        self.share = share
        self.draw = EpochDraw(generator)
        self.graph = FrozenGraph(full)

    @property
    def matrix(self) -> SparseMatrix:
        """The graph of this epoch."""
        return self.graph.matrix

    def begin_epoch(self, full: SparseMatrix) -> None:
        """Draw this epoch's graph from the whole one, whose weights are the chances of its pairs. Drawn on the CPU."""
        if self.share == 1.0:
            return
        users, items, weights = (entries.cpu() for entries in full.entries())
        kept = prune(weights, share=self.share, generator=self.draw.next())
        self.graph.replace(
            bipartite_graph(users[kept], items[kept], num_users=full.shape[0], num_items=full.shape[1])
        )


class ThinnedGraph(nn.Module):
    """A graph that loses a share of its entries in each epoch; the others grow, so that its sums stay on average.

    Ours: docs/papers/tmfun_plus.md, Eq. (2).

    Args:
        full: (N, M) the whole graph.
        share: of the entries to lose, at least 0, below 1.
        generator: draws the seed.
    """

    def __init__(self, full: SparseMatrix, *, share: float, generator: torch.Generator) -> None:
        super().__init__()
        self.share = share
        self.draw = EpochDraw(generator)
        self.full, self.graph = FrozenGraph(full), FrozenGraph(full)

    @property
    def matrix(self) -> SparseMatrix:
        """The graph of this epoch."""
        return self.graph.matrix

    def begin_epoch(self) -> None:
        """Draw this epoch's graph."""
        if self.share > 0.0:
            self.graph.replace(thin(self.full.matrix, share=self.share, generator=self.draw.next()))


def prune(weights: Float[Tensor, " E"], *, share: float, generator: torch.Generator) -> Int[Tensor, " C"]:
    """Places of a share of the pairs, drawn without replacement with chances in proportion to their weights.

    Paper: FREEDOM Eq. (4), degree-sensitive pruning: a pair's weight is 1 / sqrt(d_u d_i). The largest of
    log(uniform) / weight are such a draw (Efraimidis and Spirakis, 2006).

    Args:
        weights: (E,) above 0.
        share: of the pairs to keep, rounded down, at least one pair.
        generator: source of the draw.

    Returns:
        (C,) places, each once, in no order.
    """
    count = max(1, int(len(weights) * share))
    keys = torch.rand(len(weights), generator=generator, dtype=torch.float64).log() / weights
    return keys.topk(count, sorted=False).indices


def thin(matrix: SparseMatrix, *, share: float, generator: torch.Generator) -> SparseMatrix:
    """Each entry stays with chance 1 - share, divided by it.

    Args:
        matrix: (N, M).
        share: to lose, at least 0, below 1.
        generator: source of the draw, on the CPU.

    Returns:
        (N, M) on the CPU; each of the two directions of an edge is an entry of its own.
    """
    rows, columns, values = (entries.cpu() for entries in matrix.entries())
    kept = torch.rand(len(values), generator=generator) >= share
    return SparseMatrix.from_entries(
        rows[kept], columns[kept], values[kept] / (1.0 - share), shape=matrix.shape
    )
