from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuserec.ops.knn import cosine_knn_reference
from fuserec.ops.nearest import float32_knn, largest_columns


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 5),
    groups=st.integers(1, 7),
    depth=st.integers(1, 6),
    levels=st.sampled_from([2, 1000]),
    seed=st.integers(0, 999),
    data=st.data(),
)
def test_the_largest_by_groups_are_the_largest(
    rows: int, groups: int, depth: int, levels: int, seed: int, data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, groups))
    rng = torch.Generator().manual_seed(seed)
    scores = torch.randint(levels, (rows, groups * depth), generator=rng).float()
    scores[0, 0] = -torch.inf
    values, columns = largest_columns(scores, k, groups=groups)
    assert torch.equal(values, scores.topk(k).values)  # of ties any may be chosen, but each column once
    assert torch.equal(scores.gather(1, columns), values)
    assert all(len(set(row)) == k for row in columns.tolist())


@settings(deadline=None, max_examples=60)
@given(
    num_items=st.integers(1, 40),
    width=st.integers(2, 6),
    k=st.integers(1, 12),
    block=st.sampled_from([1, 3, 16, 100]),
    seed=st.integers(0, 2**16),
    missing=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_neighbours_and_weights_are_those_of_the_reference(
    num_items: int, width: int, k: int, block: int, seed: int, missing: float
) -> None:
    features = drawn(seed, num_items, width)
    present = torch.rand(num_items, generator=torch.Generator().manual_seed(seed)) >= missing
    found = float32_knn(features, present, k, block=block)
    expected = cosine_knn_reference(features, present, k)
    assert found.neighbours.shape == (num_items, k)
    torch.testing.assert_close(found.weights, expected.weights, atol=1e-6, rtol=0)
    assert torch.equal(found.neighbours < 0, expected.neighbours < 0)
    # where neighbours differ, rounding alone decides between them
    for row, place in torch.nonzero(found.neighbours != expected.neighbours).tolist():
        around = expected.weights[row] - expected.weights[row, place]
        assert int((around.abs() < 1e-6).sum()) > 1 or place == k - 1


def test_no_item_is_its_own_neighbour_and_the_absent_neither_have_nor_are_one() -> None:
    present = torch.tensor([True, True, False, True, True])
    features = torch.ones(5, 3)  # all alike: only the rules decide
    graph = float32_knn(features, present, 4, block=2)
    assert [sorted(row) for row in graph.neighbours.tolist()] == [
        [-1, 1, 3, 4],
        [-1, 0, 3, 4],
        [-1, -1, -1, -1],
        [-1, 0, 1, 4],
        [-1, 0, 1, 3],
    ]
    torch.testing.assert_close(graph.weights, (graph.neighbours >= 0).float())


def test_more_neighbours_than_items_are_padded() -> None:
    graph = float32_knn(torch.tensor([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.0]]), torch.ones(3) > 0, 6)
    assert graph.neighbours.tolist() == [[1, 2] + [-1] * 4, [0, 2] + [-1] * 4, [1, 0] + [-1] * 4]
    half = 0.5**0.5
    expected = torch.tensor([[half, -1.0], [half, -half], [-half, -1.0]])
    torch.testing.assert_close(graph.weights[:, :2], expected)
    assert not graph.weights[:, 2:].any()


@pytest.mark.parametrize("num_items", [99, 100, 121])
def test_the_block_does_not_matter(num_items: int) -> None:
    # 100 and 121 are squares: no padding column, so the branch without absent items is taken
    features, present = drawn(3, num_items, 8), torch.ones(num_items, dtype=torch.bool)
    whole = float32_knn(features, present, 5, block=512)
    blocks = float32_knn(features, present, 5, block=7)
    assert torch.equal(whole.neighbours, blocks.neighbours)
    torch.testing.assert_close(whole.weights, blocks.weights)
    assert torch.equal(whole.neighbours, cosine_knn_reference(features, present, 5).neighbours)


def test_it_also_works_in_float64() -> None:
    features, present = drawn(4, 30, 6).double(), torch.ones(30, dtype=torch.bool)
    graph = float32_knn(features, present, 3)
    assert graph.weights.dtype == torch.float64
    assert torch.equal(graph.neighbours, cosine_knn_reference(features, present, 3).neighbours)
