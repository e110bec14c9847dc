from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.batch import Histories
from fuserec.ops import sum_rows
from fuserec.ops.sum_rows import SparseRows, sum_dense_rows, sum_rows_reference, sum_sparse_rows
from fuserec.testing.strategies import histories

# The shape hook (beartype) looks at a random entry of each list it checks, which hypothesis warns about.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

MATRIX = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.5, 0.0, 4.0]])


def sparse(matrix: torch.Tensor) -> SparseRows:
    rows, columns = torch.nonzero(matrix, as_tuple=True)
    shape = (matrix.shape[0], matrix.shape[1])
    return SparseRows.from_entries(rows, columns, matrix[rows, columns], shape=shape)


def test_rows_of_a_history_add_up_by_hand() -> None:
    lists = Histories.from_lists([[0, 3], [], [1, 1, 2]])
    expected = [[0.5, 1.0, 6.0], [0.0, 0.0, 0.0], [6.0, 0.0, 0.0]]
    assert sum_dense_rows(lists, MATRIX, slice(0, 3)).tolist() == expected
    assert sum_sparse_rows(lists, sparse(MATRIX), slice(0, 3)).tolist() == expected
    assert sum_dense_rows(lists, MATRIX, slice(1, 3)).tolist() == [row[1:] for row in expected]
    assert sum_sparse_rows(lists, sparse(MATRIX), slice(1, 3)).tolist() == [row[1:] for row in expected]
    weights = torch.tensor([2.0, -1.0, 1.0, 0.5, 7.0])
    weighted = [[-0.5, 2.0, 0.0], [0.0, 0.0, 0.0], [4.5, 0.0, 0.0]]
    assert sum_sparse_rows(lists, sparse(MATRIX), slice(0, 3), weights=weights).tolist() == weighted


@settings(deadline=None, max_examples=50)
@given(histories(num_items=6), st.integers(0, 7), st.integers(0, 7), st.integers(0, 999))
def test_both_forms_equal_the_reference_in_every_block(
    lists: Histories, one: int, other: int, seed: int
) -> None:
    rng = torch.Generator().manual_seed(seed)
    matrix = torch.randn(6, 7, generator=rng) * (torch.rand(6, 7, generator=rng) < 0.5)
    columns = slice(min(one, other), max(one, other))
    expected = sum_rows_reference(lists, matrix, columns)
    torch.testing.assert_close(sum_dense_rows(lists, matrix, columns), expected)
    torch.testing.assert_close(sum_sparse_rows(lists, sparse(matrix), columns), expected)


def test_many_entries_are_gathered_in_portions_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = torch.arange(1.0, 41.0).view(5, 8)
    lists = Histories.from_lists([[0, 1, 2], [], [4], [3, 3, 0]])
    monkeypatch.setattr(sum_rows, "ENTRIES_AT_A_TIME", 9)
    found = sum_sparse_rows(lists, sparse(matrix), slice(0, 8))
    assert found.tolist() == sum_rows_reference(lists, matrix, slice(0, 8)).tolist()


@settings(deadline=None, max_examples=25)
@given(histories(num_items=6), st.integers(0, 7), st.integers(0, 7), st.sampled_from([3, 2**19]))
def test_weighted_rows_equal_the_reference_in_every_block_and_portion(
    lists: Histories, one: int, other: int, portion: int
) -> None:
    rng = torch.Generator().manual_seed(one)
    matrix = torch.randn(6, 7, generator=rng) * (torch.rand(6, 7, generator=rng) < 0.5)
    weights = torch.randn(len(lists.items), generator=rng)
    columns = slice(min(one, other), max(one, other))
    expected = sum_rows_reference(lists, matrix, columns, weights=weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sum_rows, "ENTRIES_AT_A_TIME", portion)
        found = sum_sparse_rows(lists, sparse(matrix), columns, weights=weights)
    torch.testing.assert_close(found, expected)


def test_places_too_large_for_32_bits_are_found() -> None:
    size = 50_000  # squared above 2**31
    last = torch.tensor([size - 1])
    matrix = SparseRows.from_entries(last, last, torch.tensor([2.0]), shape=(size, size))
    lists = Histories.from_lists([[size - 1], [0]])
    assert matrix.places.dtype == torch.int64
    assert sum_sparse_rows(lists, matrix, slice(size - 2, size)).tolist() == [[0.0, 2.0], [0.0, 0.0]]


def test_the_last_place_of_a_32_bit_matrix_is_found() -> None:
    rows, columns = 2**16, 2**15 - 1  # 2**31 - 2**16 places
    matrix = SparseRows.from_entries(
        torch.tensor([rows - 1]), torch.tensor([columns - 1]), torch.tensor([3.0]), shape=(rows, columns)
    )
    assert matrix.places.dtype == torch.int32
    found = sum_sparse_rows(Histories.from_lists([[rows - 1]]), matrix, slice(columns - 2, columns))
    assert found.tolist() == [[0.0, 3.0]]


def test_entries_at_the_same_place_are_added_up_and_come_back_in_order() -> None:
    matrix = SparseRows.from_entries(
        torch.tensor([1, 0, 1]), torch.tensor([2, 1, 2]), torch.tensor([1.0, 5.0, 2.0]), shape=(2, 3)
    )
    assert matrix.dense().tolist() == [[0.0, 5.0, 0.0], [0.0, 0.0, 3.0]]
    assert matrix.rows.tolist() == [0, 1]
    assert matrix.columns.tolist() == [1, 2]
