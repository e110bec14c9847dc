from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.data.graphs import NeighbourGraph, read_graph
from fuserec.errors import DataError

IDS = pl.Series(["a", "b", "c"])
NEIGHBOURS = np.array([[0, 1], [2, -1], [-1, -1]])
WEIGHTS = np.array([[1.0, 0.5], [0.25, 9.0], [0.0, np.nan]])


def read(path: Path, ordered: bool = True, **arrays: Any) -> NeighbourGraph:
    np.savez(path / "g.npz", **arrays)
    return read_graph("image", path / "g.npz", IDS, ordered=ordered)


@pytest.mark.parametrize("name", ["weights", "cosine"])
def test_a_graph_in_the_order_of_the_items_file(tmp_path: Path, name: str) -> None:
    graph = read(tmp_path, ordered=True, **{"neighbours": NEIGHBOURS.astype(np.int32), name: WEIGHTS})
    assert graph.neighbours.tolist() == NEIGHBOURS.tolist()
    assert graph.weights.tolist() == [[1, 0.5], [0.25, 0], [0, 0]]
    assert graph.weights.dtype == np.float32
    assert graph.entry.model_dump() == {"neighbours": 2, "present": 2}
    assert [finding.message for finding in graph.findings] == [
        "1 item without a neighbour in the image graph"
    ]


def test_a_graph_with_ids_is_renumbered(tmp_path: Path) -> None:
    graph = read(
        tmp_path,
        ordered=False,
        neighbours=np.array([[1, 2], [2, 0], [0, 1]]),
        weights=np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]),
        ids=np.array(["c", "unknown", "a"]),
    )
    # Row "c" had the neighbours "unknown" and "a"; row "a" had "c" and "unknown"; "b" has no row.
    assert graph.neighbours.tolist() == [[2, -1], [-1, -1], [-1, 0]]
    assert np.allclose(graph.weights, np.array([[0.5, 0], [0, 0], [0, 0.2]]))
    assert graph.findings[0].message == "1 row of the image graph left out: the id is not an item (g.npz)"


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1000))
def test_renumbering_by_ids_undoes_a_shuffle(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = pl.Series([f"item {row}" for row in range(9)])
    neighbours = np.stack([rng.permutation(9)[:4] for _ in range(9)])
    neighbours[rng.random((9, 4)) < 0.2] = -1
    weights = np.where(neighbours < 0, 0, rng.random((9, 4))).astype(np.float32)
    shuffle = rng.permutation(9)
    place = np.argsort(shuffle)
    shuffled = np.where(neighbours < 0, -1, place[neighbours])[shuffle]
    path = tmp_path_factory.mktemp("graph") / "g.npz"
    np.savez(path, neighbours=shuffled, weights=weights[shuffle], ids=ids.to_numpy().astype(str)[shuffle])
    graph = read_graph("text", path, ids, ordered=False)
    assert np.array_equal(graph.neighbours, neighbours)
    assert np.array_equal(graph.weights, weights)


GOOD = {"neighbours": NEIGHBOURS, "weights": WEIGHTS}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"neighbours": NEIGHBOURS + 1},
            "expected neighbours from 0 to 2, or -1 for none, in .*, got 3 in row 1",
        ),
        ({"neighbours": NEIGHBOURS - 1}, "got -2 in row 1"),
        ({"neighbours": np.full((3, 2), 200, np.uint8)}, "got 200 in row 0"),
        ({"neighbours": NEIGHBOURS.astype(float)}, "of integers in .*, got float64"),
        ({"neighbours": NEIGHBOURS[:, 0]}, r"of integers in .*, got int64 of shape \(3,\)"),
        ({"weights": WEIGHTS[:, :1]}, r"expected 'weights' of numbers with the shape \(3, 2\) in .*, got"),
        (
            {"weights": WEIGHTS + np.nan},
            "expected finite 'weights' in .*, but 2 rows hold NaN or infinity, row 0",
        ),
        ({"cosine": WEIGHTS}, "either 'weights' or 'cosine' in .*, found 'neighbours', 'weights', 'cosine'"),
        (
            {"neighbours": np.array([[0, 0], [1, 2], [1, -1]])},
            "every neighbour once in a row of .* row 0 first",
        ),
        ({"ids": np.array(["a", "b"])}, "expected an id for each of the 3 rows of .*, got 2"),
    ],
)
def test_other_graphs_are_refused(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        read(tmp_path, **{**GOOD, **change})


def test_a_graph_of_other_items_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected 3 rows in .*, one for every item .*, got 4"):
        read(tmp_path, neighbours=np.zeros((4, 1), int), weights=np.ones((4, 1)))
    with pytest.raises(DataError, match="have no ids, so they need an items file"):
        read(tmp_path, ordered=False, **GOOD)


def test_only_npz_files_hold_graphs(tmp_path: Path) -> None:
    np.save(tmp_path / "g.npy", NEIGHBOURS)
    with pytest.raises(DataError, match=r"expected a file that ends in .npz, got .*g.npy"):
        read_graph("image", tmp_path / "g.npy", IDS, ordered=True)
