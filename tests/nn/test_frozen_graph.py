from __future__ import annotations

import torch

from fuserec.nn import FrozenGraph
from fuserec.ops.graph import SparseMatrix


def matrix(rows: list[int], columns: list[int], weights: list[float]) -> SparseMatrix:
    return SparseMatrix.from_entries(
        torch.tensor(rows), torch.tensor(columns), torch.tensor(weights), shape=(3, 3)
    )


ONE_WAY = matrix([0, 1], [1, 2], [0.5, 2.0])
BOTH_WAYS = matrix([0, 1], [1, 0], [0.5, 0.5])


def test_it_gives_back_the_graph_and_its_transpose() -> None:
    for held in (ONE_WAY, BOTH_WAYS):
        found = FrozenGraph(held).matrix
        assert torch.equal(found.dense(), held.dense())
        assert torch.equal(found.backward.to_dense(), held.dense().T)
        assert found.symmetric == held.symmetric


def test_another_graph_may_take_its_place_also_one_of_another_symmetry() -> None:
    graph = FrozenGraph(BOTH_WAYS)
    for held in (ONE_WAY, BOTH_WAYS, ONE_WAY):
        graph.replace(held)
        assert torch.equal(graph.matrix.dense(), held.dense())
        assert torch.equal(graph.matrix.backward.to_dense(), held.dense().T)
        assert graph.matrix.symmetric == held.symmetric


def test_it_is_rebuilt_from_the_corpus_and_so_not_saved() -> None:
    assert not FrozenGraph(ONE_WAY).state_dict()
    assert not list(FrozenGraph(ONE_WAY).parameters())


def test_it_moves_with_its_module() -> None:
    for held in (ONE_WAY, BOTH_WAYS):
        moved = torch.nn.ModuleList([FrozenGraph(held)]).double()[0]
        assert isinstance(moved, FrozenGraph)
        assert moved.matrix.forward.dtype == moved.matrix.backward.dtype == torch.float64
        assert moved.matrix.symmetric == held.symmetric
        assert torch.equal(moved.matrix.dense(), held.dense().double())
