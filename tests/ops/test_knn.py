from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.batch import KnnGraph
from fuserec.errors import ConfigError, DataError
from fuserec.ops import knn
from fuserec.ops.knn import cosine_knn, cosine_knn_reference


def all_present(features: torch.Tensor) -> torch.Tensor:
    return torch.ones(len(features), dtype=torch.bool)


def assert_same(found: KnnGraph, expected: KnnGraph) -> None:
    assert torch.equal(found.neighbours, expected.neighbours)
    assert torch.equal(found.weights, expected.weights)


def test_neighbours_by_hand() -> None:
    features = torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, 2.0], [0.0, 0.0], [1.0, 1.0]])
    present = torch.tensor([True, True, True, True, False])
    graph = cosine_knn(features, present, 2)
    # cosines: 0-1 .6, 0-2 0, 1-2 .8; row 3 is zero, row 4 absent
    assert graph.neighbours.tolist() == [[1, 2], [2, 0], [1, 0], [-1, -1], [-1, -1]]
    expected = torch.tensor([[0.6, 0.0], [0.8, 0.6], [0.8, 0.0], [0.0, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(graph.weights, expected)


def test_fewer_others_than_k_leave_the_end_of_a_row_empty() -> None:
    graph = cosine_knn(torch.tensor([[1.0], [2.0], [-1.0]]), torch.ones(3) > 0, 4)
    assert graph.neighbours.tolist() == [[1, 2, -1, -1], [0, 2, -1, -1], [0, 1, -1, -1]]
    assert graph.weights.tolist() == [[1.0, -1.0, 0.0, 0.0], [1.0, -1.0, 0.0, 0.0], [-1.0, -1.0, 0.0, 0.0]]


def test_of_equal_weights_the_lowest_rows_come_first_whatever_the_block() -> None:
    features = torch.tensor([[0.3, 0.1, 0.7]]).repeat(60, 1)
    features[5] = torch.tensor([1.0, -1.0, 0.0])
    for block in (1, 7, 64):
        graph = cosine_knn(features, all_present(features), 3, block=block)
        assert graph.neighbours[0].tolist() == [1, 2, 3]
        assert graph.neighbours[1].tolist() == [0, 2, 3]
        assert graph.neighbours[59].tolist() == [0, 1, 2]
        assert graph.neighbours[5].tolist() == [0, 1, 2]


@settings(deadline=None, max_examples=50)
@given(
    num_items=st.integers(1, 60),
    width=st.integers(1, 5),
    k=st.integers(1, 12),
    block=st.sampled_from([1, 3, 16, 100]),
    levels=st.sampled_from([1, 2, 1000]),
    seed=st.integers(0, 2**16),
)
def test_blocks_find_the_reference_neighbours_also_among_many_ties(
    num_items: int, width: int, k: int, block: int, levels: int, seed: int
) -> None:
    rng = torch.Generator().manual_seed(seed)
    features = torch.randint(-levels, levels + 1, (num_items, width), generator=rng).float()
    present = torch.rand(num_items, generator=rng) < 0.9
    found = cosine_knn(features, present, k, block=block)
    assert_same(found, cosine_knn_reference(features, present, k))


@pytest.mark.parametrize("width", [1, 63, 400])
def test_near_ties_that_float32_products_cannot_tell_apart_are_decided(width: int) -> None:
    rng = torch.Generator().manual_seed(width)
    features = torch.randn(1, width, generator=rng) + 1e-4 * torch.randn(200, width, generator=rng)
    present = all_present(features)
    reference = cosine_knn_reference(features, present, 10)
    assert_same(cosine_knn(features, present, 10, block=64), reference)


def test_rows_in_doubt_are_searched_in_several_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knn, "VALUES_IN_MEMORY", 10)
    rng = torch.Generator().manual_seed(0)
    features = torch.randint(0, 2, (50, 3), generator=rng).float()
    present = all_present(features)
    assert_same(cosine_knn(features, present, 4, block=8), cosine_knn_reference(features, present, 4))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_memory_mapped_file_gives_the_same_neighbours(tmp_path: Path, dtype: str) -> None:
    values = np.random.default_rng(0).normal(size=(90, 33)).astype(dtype)
    np.save(tmp_path / "features.npy", values)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r", allow_pickle=False)
    present = torch.ones(90, dtype=torch.bool)
    reference = cosine_knn_reference(values, present, 5)
    assert_same(cosine_knn(mapped, present, 5, block=32), reference)
    assert_same(cosine_knn(torch.from_numpy(values), present, 5), reference)


@settings(deadline=None, max_examples=50)
@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 999))
def test_the_length_of_a_row_does_not_matter(scale: float, seed: int) -> None:
    features = torch.randn(20, 4, generator=torch.Generator().manual_seed(seed))
    lengthened = features.clone()
    lengthened[::2] *= scale
    found = cosine_knn(lengthened, all_present(features), 4)
    expected = cosine_knn(features, all_present(features), 4)
    torch.testing.assert_close(found.weights, expected.weights)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 999))
def test_renumbering_the_items_only_renumbers_the_neighbours(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    features = torch.randn(30, 6, generator=rng)
    old_row = torch.randperm(30, generator=rng)
    found = cosine_knn(features[old_row], all_present(features), 3, block=8)
    expected = cosine_knn(features, all_present(features), 3, block=8)
    assert torch.equal(old_row[found.neighbours], expected.neighbours[old_row])
    assert torch.equal(found.weights, expected.weights[old_row])


def test_what_cannot_be_searched_is_refused() -> None:
    features = torch.ones(3, 2)
    with pytest.raises(ConfigError, match="expected k and block of at least 1, got k = 0 and block = 1024"):
        cosine_knn(features, all_present(features), 0)
    with pytest.raises(DataError, match=r"expected a matrix with 2 rows of features, .* got shape \(3, 2\)"):
        cosine_knn(features, torch.ones(2) > 0, 1)
    features[1, 0] = torch.nan
    with pytest.raises(DataError, match=r"expected finite features, .* in row 1"):
        cosine_knn(features, all_present(features), 1)


def test_rows_that_are_not_present_may_hold_anything() -> None:
    features = torch.tensor([[1.0, 1.0], [torch.nan, 0.0], [1.0, 2.0]])
    graph = cosine_knn(features, torch.tensor([True, False, True]), 1)
    assert graph.neighbours.tolist() == [[2], [-1], [0]]
