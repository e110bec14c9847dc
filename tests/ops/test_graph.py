from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuserec.batch import KnnGraph
from fuserec.ops.graph import (
    SparseMatrix,
    bipartite_graph,
    knn_adjacency,
    layer_mean,
    layer_mean_reference,
    mixed_propagate,
    mixed_propagate_reference,
    normalise,
    propagate,
    propagate_reference,
    symmetric_neighbours,
)
from fuserec.testing.strategies import knn_graphs

seeds = st.integers(0, 2**16)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def sparse(rows: int, columns: int, *, seed: int = 0, share: float = 0.4) -> SparseMatrix:
    """A random rectangular matrix in float64 with a seventh of its rows empty at least."""
    values = drawn(seed, rows, columns)
    values[drawn(seed + 1, rows, columns).abs() > share] = 0.0
    values[::7] = 0.0
    row, column = torch.nonzero(values, as_tuple=True)
    return SparseMatrix.from_entries(row, column, values[row, column], shape=(rows, columns))


def graph_of(lists: list[list[tuple[int, float]]], width: int) -> KnnGraph:
    neighbours = torch.full((len(lists), width), -1, dtype=torch.int64)
    weights = torch.zeros(len(lists), width, dtype=torch.float64)
    for item, row in enumerate(lists):
        for place, (neighbour, weight) in enumerate(row):
            neighbours[item, place], weights[item, place] = neighbour, weight
    return KnnGraph(neighbours=neighbours, weights=weights)


# -- SparseMatrix


def test_entries_at_the_same_place_are_added_up() -> None:
    matrix = SparseMatrix.from_entries(
        torch.tensor([1, 0, 1]), torch.tensor([2, 0, 2]), torch.tensor([1.0, 5.0, 2.0]), shape=(2, 3)
    )
    assert matrix.dense().tolist() == [[5.0, 0.0, 0.0], [0.0, 0.0, 3.0]]
    assert matrix.backward.to_dense().tolist() == [[5.0, 0.0], [0.0, 0.0], [0.0, 3.0]]
    assert [part.tolist() for part in matrix.entries()] == [[0, 1], [0, 2], [5.0, 3.0]]
    assert matrix.row_sums().tolist() == [5.0, 3.0]
    assert matrix.row_counts().tolist() == [1, 1]
    assert matrix.column_counts().tolist() == [1, 0, 1]
    assert matrix.shape == (2, 3)


def test_parts_are_added_up_with_their_weights() -> None:
    one = (torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([2.0, 4.0]))
    other = (torch.tensor([0, 0]), torch.tensor([2, 0]), torch.tensor([10.0, 20.0]))
    total = SparseMatrix.weighted_sum([(0.5, one), (0.1, other)], shape=(2, 3))
    torch.testing.assert_close(total.dense(), torch.tensor([[3.0, 0.0, 1.0], [0.0, 2.0, 0.0]]))


def test_negatives_become_zeros_and_nothing_else_changes() -> None:
    rows, columns = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])
    matrix = SparseMatrix.from_entries(rows, columns, torch.tensor([2.0, -3.0, 4.0]), shape=(2, 2))
    assert matrix.without_negatives().dense().tolist() == [[2.0, 0.0], [0.0, 4.0]]
    assert matrix.dense().tolist() == [[2.0, -3.0], [0.0, 4.0]]
    positive = matrix.without_negatives()
    assert positive.without_negatives() is positive


def test_a_symmetric_matrix_is_found_to_be_and_stored_once() -> None:
    rows, columns = torch.tensor([0, 1, 2, 2]), torch.tensor([1, 0, 2, 0])
    weights = torch.tensor([0.5, 0.5, 1.0, 0.0])
    one_way = SparseMatrix.from_entries(rows, columns, weights, shape=(3, 3))
    both_ways = SparseMatrix.from_entries(rows[:3], columns[:3], weights[:3], shape=(3, 3))
    assert both_ways.symmetric
    assert both_ways.backward is both_ways.forward
    # an explicit zero on one side only keeps the matrix symmetric in value, yet not in what is stored
    assert not one_way.symmetric


@pytest.mark.parametrize(
    ("rows", "columns", "weights", "shape"),
    [
        ([0, 1], [1, 0], [0.5, 0.25], (2, 2)),  # other weights back
        ([0, 1], [1, 2], [0.5, 0.5], (3, 3)),  # other places back
        ([0, 1], [1, 0], [0.5, 0.5], (2, 3)),  # not square, though its entries mirror
        ([0], [1], [0.5], (2, 2)),  # nothing back
    ],
)
def test_any_other_matrix_keeps_its_true_transpose(
    rows: list[int], columns: list[int], weights: list[float], shape: tuple[int, int]
) -> None:
    matrix = SparseMatrix.from_entries(
        torch.tensor(rows), torch.tensor(columns), torch.tensor(weights), shape=shape
    )
    assert not matrix.symmetric
    assert torch.equal(matrix.backward.to_dense(), matrix.dense().T)


def test_a_matrix_that_differs_from_its_transpose_in_the_last_bit_is_not_called_symmetric() -> None:
    above = torch.nextafter(torch.tensor(0.5), torch.tensor(1.0))
    matrix = SparseMatrix.from_entries(
        torch.tensor([0, 1]), torch.tensor([1, 0]), torch.stack([above, torch.tensor(0.5)]), shape=(2, 2)
    )
    assert not matrix.symmetric


def test_places_outside_the_shape_are_refused() -> None:
    for row, column, words in (
        (0, 3, "columns from 0 to 2, got 3"),
        (2, 0, "rows from 0 to 1, got 2"),
        (-1, 0, "rows from 0 to 1, got -1"),
    ):
        with pytest.raises(ValueError, match=words):
            SparseMatrix.from_entries(
                torch.tensor([row]), torch.tensor([column]), torch.tensor([1.0]), shape=(2, 3)
            )


def test_moving_to_a_device_keeps_values_and_symmetry() -> None:
    own = torch.arange(3)
    for matrix in (sparse(5, 5), SparseMatrix.from_entries(own, own, torch.ones(3), shape=(3, 3))):
        moved = matrix.to("cpu")
        assert moved.symmetric == matrix.symmetric
        assert torch.equal(moved.dense(), matrix.dense())


# -- propagate


def test_propagation_between_two_nodes_by_hand() -> None:
    matrix = SparseMatrix.from_entries(
        torch.tensor([0]), torch.tensor([1]), torch.tensor([0.5]), shape=(2, 2)
    )
    x = torch.tensor([[1.0], [4.0]], requires_grad=True)
    answer = propagate(matrix, x)
    assert answer.tolist() == [[2.0], [0.0]]
    (answer * torch.tensor([[3.0], [7.0]])).sum().backward()
    assert x.grad is not None
    # only node 1 is heard, by node 0, with weight .5; a gradient by A instead of A^T would be [[3.5], [0]]
    assert x.grad.tolist() == [[0.0], [1.5]]


@settings(deadline=None, max_examples=30)
@given(seeds, st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_propagation_is_the_dense_product_in_value_and_gradient(
    seed: int, rows: int, columns: int, dim: int
) -> None:
    matrix, x, weight = (
        sparse(rows, columns, seed=seed),
        drawn(seed + 2, columns, dim),
        drawn(seed, rows, dim),
    )
    gradients = []
    for product in (propagate, propagate_reference):
        leaf = x.clone().requires_grad_()
        answer = product(matrix, leaf)
        torch.testing.assert_close(answer, matrix.dense() @ x)
        gradients.append(torch.autograd.grad((answer * weight).sum(), leaf)[0])
    torch.testing.assert_close(*gradients)


def test_the_gradient_of_propagation_is_exact() -> None:
    matrix = sparse(6, 4)
    assert not matrix.symmetric
    assert torch.autograd.gradcheck(lambda x: propagate(matrix, x), [drawn(9, 4, 3).requires_grad_()])


@settings(deadline=None, max_examples=30)
@given(seeds, st.floats(-3, 3), st.floats(-3, 3))
def test_propagation_is_linear(seed: int, one: float, other: float) -> None:
    matrix, x, y = sparse(7, 5, seed=seed), drawn(seed + 3, 5, 2), drawn(seed + 4, 5, 2)
    torch.testing.assert_close(
        propagate(matrix, one * x + other * y), one * propagate(matrix, x) + other * propagate(matrix, y)
    )


def test_a_gradient_that_is_not_contiguous_is_taken() -> None:
    matrix, x = sparse(6, 4), drawn(1, 4, 3).requires_grad_()
    propagate(matrix, x).T.contiguous().T.sum().backward()
    torch.testing.assert_close(x.grad, matrix.dense().T.sum(1, keepdim=True).expand(4, 3))


# -- layer_mean


def test_one_layer_between_one_user_and_one_item_by_hand() -> None:
    matrix = SparseMatrix.from_entries(torch.tensor([0]), torch.tensor([0]), torch.ones(1), shape=(1, 1))
    user, item = torch.tensor([[2.0]]), torch.tensor([[8.0]])
    # layers: user 2, 8, 2; item 8, 2, 8
    assert [part.item() for part in layer_mean(matrix, user, item, num_layers=1)] == [5.0, 5.0]
    torch.testing.assert_close(
        layer_mean(matrix, user, item, num_layers=2), (torch.tensor([[4.0]]), torch.tensor([[6.0]]))
    )


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 8), st.integers(1, 8), st.integers(0, 4))
def test_the_fused_layers_are_the_mean_of_all_in_value_and_gradient(
    seed: int, users: int, items: int, num_layers: int
) -> None:
    matrix = sparse(users, items, seed=seed)
    user, item = drawn(seed + 2, users, 3), drawn(seed + 3, items, 3)
    of_user, of_item = drawn(seed + 4, users, 3), drawn(seed + 5, items, 3)
    found = []
    for mean in (layer_mean, layer_mean_reference):
        leaves = [user.clone().requires_grad_(), item.clone().requires_grad_()]
        z_user, z_item = mean(matrix, *leaves, num_layers=num_layers)
        total = (z_user * of_user).sum() + (z_item * of_item).sum()
        found.append((z_user, z_item, *torch.autograd.grad(total, leaves)))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("num_layers", [0, 1, 2, 3])
def test_the_gradient_of_the_layer_mean_is_exact_on_a_rectangular_graph(num_layers: int) -> None:
    matrix = sparse(5, 3, share=0.9)
    leaves = [drawn(1, 5, 2).requires_grad_(), drawn(2, 3, 2).requires_grad_()]
    assert torch.autograd.gradcheck(
        lambda user, item: layer_mean(matrix, user, item, num_layers=num_layers), leaves
    )


def test_the_gradient_flows_where_only_one_side_is_used() -> None:
    matrix = sparse(5, 3, share=0.9)
    found = []
    for mean in (layer_mean, layer_mean_reference):
        leaves = [drawn(1, 5, 2).requires_grad_(), drawn(2, 3, 2).requires_grad_()]
        found.append(torch.autograd.grad(mean(matrix, *leaves, num_layers=2)[1].square().sum(), leaves))
    torch.testing.assert_close(*found)


def test_without_layers_nothing_moves_and_no_memory_is_shared() -> None:
    user, item = drawn(1, 5, 2), drawn(2, 3, 2)
    z_user, z_item = layer_mean(sparse(5, 3), user, item, num_layers=0)
    assert torch.equal(z_user, user)
    assert torch.equal(z_item, item)
    assert z_user.data_ptr() != user.data_ptr()


# -- normalise


def test_two_nodes_are_normalised_by_the_roots_of_both_degrees() -> None:
    rows, columns = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0])
    values = normalise(rows, columns, torch.tensor([1.0, 3.0, 1.0]), num_nodes=2)
    # degrees 4 and 1: 1 / 4, 3 / (2 * 1), 1 / (1 * 2)
    assert values.tolist() == [0.25, 1.5, 0.5]


def test_a_row_whose_sum_is_not_positive_is_empty_and_so_is_its_column() -> None:
    rows, columns = torch.tensor([0, 0, 1, 1, 2, 3]), torch.tensor([0, 1, 1, 0, 0, 2])
    values = normalise(rows, columns, torch.tensor([1.0, -1.0, 4.0, 5.0, 1.0, -2.0]), num_nodes=4)
    # sums 0, 9, 1, -2: rows 0 and 3 are empty, and nobody hears column 0
    torch.testing.assert_close(values, torch.tensor([0.0, 0.0, 4 / 9, 0.0, 0.0, 0.0]))


@settings(deadline=None, max_examples=50)
@given(knn_graphs(num_items=6), st.data())
def test_normalising_is_the_dense_formula_and_never_gives_nan(graph: KnnGraph, data: st.DataObject) -> None:
    signs = data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=6, max_size=6))
    rows, place = torch.nonzero(graph.neighbours >= 0, as_tuple=True)
    columns = graph.neighbours[rows, place]
    values = graph.weights[rows, place].double() * torch.tensor(signs, dtype=torch.float64)[columns]
    dense = torch.zeros(6, 6, dtype=torch.float64)
    dense[rows, columns] = values
    expected = torch.zeros_like(dense)
    sums = dense.sum(1).tolist()
    for row in range(6):
        for column in range(6):
            if sums[row] > 1e-12 and sums[column] > 1e-12:
                expected[row, column] = dense[row, column] / (sums[row] * sums[column]) ** 0.5
    found = normalise(rows, columns, values, num_nodes=6)
    assert bool(found.isfinite().all())
    here = torch.tensor([sums[r] == 0 or abs(sums[r]) > 1e-12 for r in range(6)])
    safe = here[rows] & here[columns]  # a sum that only rounding keeps from 0 may fall either way
    torch.testing.assert_close(found[safe], expected[rows, columns][safe])


# -- bipartite_graph


def test_every_distinct_pair_is_weighed_once_by_both_degrees() -> None:
    users, items = torch.tensor([0, 0, 0, 2, 0]), torch.tensor([1, 3, 1, 3, 3])
    matrix = bipartite_graph(users, items, num_users=3, num_items=4)
    expected = torch.zeros(3, 4)
    expected[0, 1] = 1 / (2 * 1) ** 0.5
    expected[0, 3] = 1 / (2 * 2) ** 0.5
    expected[2, 3] = 1 / (1 * 2) ** 0.5
    torch.testing.assert_close(matrix.dense(), expected)
    assert torch.equal(matrix.backward.to_dense(), matrix.dense().T)
    assert matrix.row_counts().tolist() == [2, 0, 1]
    assert matrix.column_counts().tolist() == [0, 1, 0, 2]


def test_a_graph_without_a_pair_is_empty() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    matrix = bipartite_graph(nothing, nothing, num_users=2, num_items=3)
    assert matrix.dense().tolist() == [[0.0] * 3] * 2


# -- knn_adjacency


def literal_adjacency(graph: KnnGraph, present: Tensor, *, directed: bool, self_loops: bool) -> Tensor:
    """Eq. (2) for a ready graph, entry by entry."""
    num_items = len(present)
    s = torch.zeros(num_items, num_items, dtype=graph.weights.dtype)
    for item in range(num_items):
        for neighbour, weight in zip(graph.neighbours[item].tolist(), graph.weights[item], strict=True):
            if neighbour not in (-1, item) and present[item] and present[neighbour]:
                s[item, neighbour] = weight
    if not directed:
        s = torch.maximum(s, s.T)
    if self_loops:
        s = s + torch.diag(present.to(s.dtype))
    sums = s.sum(1)
    a = torch.zeros_like(s)
    for row in range(num_items):
        for column in range(num_items):
            if sums[row] > 0 and sums[column] > 0:
                a[row, column] = s[row, column] / (sums[row] * sums[column]).sqrt()
    return a


@settings(deadline=None, max_examples=60)
@given(
    knn_graphs(num_items=6),
    st.lists(st.booleans(), min_size=6, max_size=6),
    st.booleans(),
    st.booleans(),
    st.sampled_from([1.0, -1.0]),
)
def test_the_adjacency_of_a_ready_graph_is_the_literal_one(
    graph: KnnGraph, presence: list[bool], directed: bool, self_loops: bool, sign: float
) -> None:
    weights = graph.weights.double() * sign
    weights[:3] = weights[:3].abs()  # so that with sign -1 a pair may be negative one way, positive the other
    graph = KnnGraph(neighbours=graph.neighbours, weights=weights)
    present = torch.tensor(presence)
    matrix = knn_adjacency(graph, present, directed=directed, self_loops=self_loops)
    torch.testing.assert_close(
        matrix.dense(), literal_adjacency(graph, present, directed=directed, self_loops=self_loops)
    )
    assert torch.equal(matrix.backward.to_dense(), matrix.dense().T)
    if not directed:
        assert matrix.symmetric


def test_two_items_and_a_third_without_the_modality_by_hand() -> None:
    graph = graph_of([[(1, 0.5)], [(1, 0.9), (2, 0.7)], [(0, 1.0)]], 2)
    present = torch.tensor([True, True, False])
    both_ways = knn_adjacency(graph, present)
    # S = [[1, .5], [.5, 1]]: own entries count 1 whatever the list says, item 2 is not there
    expected = torch.tensor([[2 / 3, 1 / 3, 0], [1 / 3, 2 / 3, 0], [0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(both_ways.dense(), expected)
    one_way = knn_adjacency(graph, present, directed=True)
    # S = [[1, .5], [0, 1]], sums 1.5 and 1
    torch.testing.assert_close(
        one_way.dense(),
        torch.tensor([[1 / 1.5, 0.5 / 1.5**0.5, 0], [0, 1, 0], [0, 0, 0]], dtype=torch.float64),
    )
    assert both_ways.symmetric
    assert not one_way.symmetric


def test_negative_weights_meet_the_zero_of_the_other_direction() -> None:
    one_way = graph_of([[(1, -0.5)], []], 1)
    both_ways = graph_of([[(1, -0.5)], [(0, -0.25)]], 1)
    present = torch.ones(2, dtype=torch.bool)
    assert knn_adjacency(one_way, present).dense().tolist() == [[1.0, 0.0], [0.0, 1.0]]
    # max(-.5, -.25) = -.25: sums .75
    torch.testing.assert_close(
        knn_adjacency(both_ways, present).dense(),
        torch.tensor([[4 / 3, -1 / 3], [-1 / 3, 4 / 3]], dtype=torch.float64),
    )


def test_a_graph_of_no_neighbours_at_all_is_the_identity_on_those_present() -> None:
    graph = KnnGraph(neighbours=torch.full((3, 0), -1), weights=torch.zeros(3, 0))
    present = torch.tensor([True, False, True])
    assert torch.equal(knn_adjacency(graph, present).dense(), torch.diag(present.float()))
    assert not knn_adjacency(graph, present, self_loops=False).dense().any()


def test_either_direction_makes_two_items_neighbours_and_the_larger_weight_counts() -> None:
    graph = KnnGraph(
        neighbours=torch.tensor([[0, 1], [0, -1], [1, 3], [2, 0]]),
        weights=torch.tensor([[1.0, 0.5], [0.25, 0.0], [-0.5, 0.75], [0.75, 0.125]]),
    )
    present = torch.tensor([True, True, True, True])
    expected = [[0, 0.5, 0, 0.125], [0.5, 0, 0, 0], [0, 0, 0, 0.75], [0.125, 0, 0.75, 0]]
    assert symmetric_neighbours(graph, present).dense().tolist() == expected
    present[3] = False
    expected = [[0, 0.5, 0, 0], [0.5, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert symmetric_neighbours(graph, present).dense().tolist() == expected


@settings(deadline=None, max_examples=50)
@given(knn_graphs(num_items=6), st.lists(st.booleans(), min_size=6, max_size=6))
def test_symmetric_neighbours_equal_the_dense_maximum(graph: KnnGraph, present: list[bool]) -> None:
    mask = torch.tensor(present)
    dense = torch.zeros(6, 6)
    for row, (columns, weights) in enumerate(
        zip(graph.neighbours.tolist(), graph.weights.tolist(), strict=True)
    ):
        for column, weight in zip(columns, weights, strict=True):
            if column >= 0:
                dense[row, column] = weight
    dense = torch.maximum(dense, dense.T) * mask * mask[:, None]
    dense.fill_diagonal_(0)
    assert torch.equal(symmetric_neighbours(graph, mask).dense(), dense)


# -- mixed_propagate


@pytest.mark.parametrize("rows", [[4], [6, 0, 3], list(range(8))])
def test_mixed_graphs_equal_their_literal_sum_in_values_and_gradients(rows: list[int]) -> None:
    graphs = (sparse(8, 8), sparse(8, 8, seed=5))
    wanted, gradient = torch.tensor(rows), drawn(2, len(rows), 3)
    outcomes = []
    for form in (mixed_propagate, mixed_propagate_reference):
        x, weights = drawn(3, 8, 3).requires_grad_(), drawn(4, len(rows), 2).requires_grad_()
        result = form(graphs, x, weights, wanted)
        outcomes.append((result, *torch.autograd.grad(result, (x, weights), gradient)))
    for ours, literal in zip(*outcomes, strict=True):
        torch.testing.assert_close(ours, literal)
