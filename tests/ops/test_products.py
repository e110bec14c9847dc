from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fuserec.ops import products
from fuserec.ops.graph import SparseMatrix, bipartite_graph, layer_mean, layer_mean_reference
from fuserec.ops.products import add_product, multiply


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def beyond_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "VALUES_IN_CACHE", 0)


@pytest.fixture
def dense() -> Tensor:
    """The last row, and the second, are empty."""
    values = drawn(40, 30)
    values[values.abs() < 1.0] = 0.0
    values[[1, 39]] = 0.0
    return values


def csr_of(dense: Tensor) -> Tensor:
    rows, columns = torch.nonzero(dense, as_tuple=True)
    return SparseMatrix.from_entries(rows, columns, dense[rows, columns], shape=(40, 30)).forward


@pytest.mark.usefixtures("beyond_cache")
def test_beyond_the_cache_a_product_is_the_dense_one_and_empty_rows_are_zero(dense: Tensor) -> None:
    x, start = drawn(30, 7, seed=1), drawn(40, 7, seed=2)
    torch.testing.assert_close(multiply(csr_of(dense), x), dense @ x)
    assert not multiply(csr_of(dense), x)[[1, 39]].any()
    torch.testing.assert_close(add_product(start, csr_of(dense), x, scale=0.5), 0.5 * (start + dense @ x))


@pytest.mark.parametrize("values_in_cache", [0, 2**22])
def test_a_sum_may_go_where_its_start_is(
    dense: Tensor, values_in_cache: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "VALUES_IN_CACHE", values_in_cache)
    x, start = drawn(30, 7, seed=1), drawn(40, 7, seed=2)
    expected = start + dense @ x
    assert add_product(start, csr_of(dense), x, out=start) is start
    torch.testing.assert_close(start, expected)


@pytest.mark.usefixtures("beyond_cache")
def test_beyond_the_cache_the_layers_are_the_literal_ones_in_value_and_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    rows, columns = (torch.randint(size, (60,), generator=generator) for size in (20, 10))
    graph = bipartite_graph(rows, columns, num_users=20, num_items=10)
    tables = drawn(20, 4, seed=3).requires_grad_(), drawn(10, 4, seed=4).requires_grad_()
    gradients = drawn(20, 4, seed=5), drawn(10, 4, seed=6)
    ours = layer_mean(graph, *tables, num_layers=2)
    literal = layer_mean_reference(graph, *tables, num_layers=2)
    torch.testing.assert_close(ours, literal)
    torch.testing.assert_close(
        torch.autograd.grad(ours, tables, gradients), torch.autograd.grad(literal, tables, gradients)
    )


def test_double_precision_stays_double_beyond_the_cache(
    dense: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "VALUES_IN_CACHE", 0)
    x = drawn(30, 7, seed=1).double()
    product = multiply(csr_of(dense).double(), x)
    torch.testing.assert_close(product, dense.double() @ x)
