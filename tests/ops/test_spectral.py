from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fuserec.ops.graph import SparseMatrix
from fuserec.ops.spectral import leading_eigenpairs, leading_eigenvectors


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sparse(dense: Tensor) -> SparseMatrix:
    rows, columns = torch.nonzero(dense, as_tuple=True)
    return SparseMatrix.from_entries(
        rows, columns, dense[rows, columns], shape=(dense.shape[0], dense.shape[1])
    )


def with_eigenvalues(values: Tensor, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A dense symmetric matrix with these eigenvalues, and its eigenvectors."""
    vectors = torch.linalg.qr(torch.randn(len(values), len(values), generator=rng(seed)))[0]
    return vectors @ torch.diag(values) @ vectors.T, vectors


def test_two_nodes_by_hand() -> None:
    matrix = sparse(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    vectors = leading_eigenvectors(matrix, 2, generator=rng())
    # eigenvalue 1 before -1, although both are as large
    torch.testing.assert_close(vectors.abs(), torch.full((2, 2), 0.5**0.5))
    assert vectors[0, 0] * vectors[1, 0] > 0 > vectors[0, 1] * vectors[1, 1]


def test_the_largest_eigenvalues_come_first_and_not_the_largest_in_size() -> None:
    values = torch.cat([torch.tensor([1.0, 0.8, 0.5]), torch.linspace(-1.0, -0.2, 57)])
    dense, expected = with_eigenvalues(values)
    vectors = leading_eigenvectors(sparse(dense), 3, generator=rng(1))
    overlap = (vectors.T @ expected[:, :3]).abs()
    torch.testing.assert_close(overlap, torch.eye(3), atol=1e-3, rtol=0)


def test_a_directed_graph_is_taken_both_ways() -> None:
    dense, _ = with_eigenvalues(torch.linspace(1.0, -1.0, 40))
    skew = torch.triu(0.3 * torch.randn(40, 40, generator=rng(2)), 1)
    directed = sparse(dense + skew - skew.T)
    assert not directed.symmetric
    of_directed = leading_eigenvectors(directed, 4, generator=rng(3))
    of_symmetric = leading_eigenvectors(sparse((dense + dense.T) / 2), 4, generator=rng(3))
    # the sign of each is free
    torch.testing.assert_close((of_directed * of_symmetric).sum(0).abs(), torch.ones(4), atol=1e-4, rtol=0)


@pytest.mark.parametrize("count", [1, 5, 20, 50])
def test_they_are_orthonormal_and_at_most_as_many_as_nodes(count: int) -> None:
    dense, _ = with_eigenvalues(torch.linspace(1.0, -1.0, 20))
    vectors = leading_eigenvectors(sparse(dense), count, generator=rng())
    assert vectors.shape == (20, min(count, 20))
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(min(count, 20)), atol=1e-5, rtol=0)


def test_more_iterations_come_closer() -> None:
    dense, _ = with_eigenvalues(torch.linspace(1.0, -1.0, 200))
    matrix = sparse(dense)
    off = []
    for iterations in (1, 10, 60):
        vectors = leading_eigenvectors(matrix, 8, generator=rng(), iterations=iterations)
        moved = dense @ vectors
        off.append((moved - vectors * (vectors * moved).sum(0)).norm().item())
    assert off[0] > 2 * off[1] > 4 * off[2]


def test_the_same_generator_gives_the_same_vectors() -> None:
    dense, _ = with_eigenvalues(torch.linspace(1.0, -1.0, 30))
    one, same = (leading_eigenvectors(sparse(dense), 3, generator=rng(5)) for _ in range(2))
    assert torch.equal(one, same)


def test_float64_stays_float64() -> None:
    dense, expected = with_eigenvalues(torch.tensor([1.0, 0.2, 0.1, -1.0]))
    vectors = leading_eigenvectors(sparse(dense.double()), 1, generator=rng())
    assert vectors.dtype == torch.float64
    assert abs(float(vectors[:, 0] @ expected[:, 0].double())) == pytest.approx(1.0, abs=1e-6)


def test_the_eigenvalues_come_with_their_vectors() -> None:
    dense, expected = with_eigenvalues(torch.tensor([0.9, 0.5, 0.1, -0.3, -0.9]))
    values, vectors = leading_eigenpairs(
        dense.matmul, 3, nodes=5, dtype=torch.float32, generator=rng(1), iterations=60
    )
    torch.testing.assert_close(values, torch.tensor([0.9, 0.5, 0.1]), atol=1e-5, rtol=0)
    overlap = (vectors.T @ expected[:, :3]).abs()
    torch.testing.assert_close(overlap, torch.eye(3), atol=1e-3, rtol=0)
