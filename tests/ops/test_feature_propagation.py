from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.batch import Pairs
from fuserec.errors import ConfigError
from fuserec.ops.feature_propagation import (
    fill_from_neighbours,
    fill_from_neighbours_reference,
    shared_users_graph,
    shared_users_graph_reference,
)
from fuserec.testing.strategies import pairs

USERS, ITEMS = 6, 9


def log_of(*events: tuple[int, int]) -> Pairs:
    users, items = zip(*events, strict=True)
    return Pairs(users=torch.tensor(users), items=torch.tensor(items))


CHAIN = log_of((0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 3))
"""Items 0 - 1 - 2 - 3 in a row, each with a user of the next; item 4 has none."""


def test_the_graph_by_hand() -> None:
    graph = shared_users_graph(CHAIN, num_users=3, num_items=5, neighbours=2).dense()
    half = 0.5**0.5
    expected = torch.zeros(5, 5)
    expected[0, 1] = expected[2, 3] = half
    expected[1, 2] = 0.5
    assert torch.allclose(graph, expected + expected.T)


def test_of_items_with_equally_many_common_users_the_lower_row_stays() -> None:
    together = log_of((0, 0), (0, 1), (0, 2), (0, 3))
    graph = shared_users_graph(together, num_users=1, num_items=4, neighbours=1)
    assert (graph.dense() > 0).tolist() == [
        [False, True, True, True],
        [True, False, False, False],
        [True, False, False, False],
        [True, False, False, False],
    ]


@settings(deadline=None, max_examples=60)
@given(pairs(num_users=USERS, num_items=ITEMS), st.integers(1, ITEMS + 2))
def test_the_graph_equals_the_dense_one(log: Pairs, neighbours: int) -> None:
    graph = shared_users_graph(log, num_users=USERS, num_items=ITEMS, neighbours=neighbours)
    literal = shared_users_graph_reference(log, num_users=USERS, num_items=ITEMS, neighbours=neighbours)
    assert torch.allclose(graph.dense(), literal, atol=1e-6)
    assert torch.equal(graph.dense() > 0, literal > 0)
    assert graph.symmetric


@settings(deadline=None, max_examples=60)
@given(
    log=pairs(num_users=USERS, num_items=ITEMS),
    known=st.lists(st.booleans(), min_size=ITEMS, max_size=ITEMS),
    steps=st.integers(1, 6),
    neighbours=st.integers(1, 4),
)
def test_filling_equals_the_literal_one(log: Pairs, known: list[bool], steps: int, neighbours: int) -> None:
    graph = shared_users_graph(log, num_users=USERS, num_items=ITEMS, neighbours=neighbours)
    features = torch.randn(ITEMS, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor(known)
    filled, there = fill_from_neighbours(graph, features, mask, steps=steps)
    literal, there_literally = fill_from_neighbours_reference(graph.dense(), features, mask, steps=steps)
    assert torch.equal(there, there_literally)
    assert torch.allclose(filled, literal, atol=1e-6)
    assert torch.equal(filled[mask], features[mask])
    assert not filled[~there].any()


def test_a_row_arrives_after_as_many_steps_as_it_is_away_and_never_at_an_isolated_item() -> None:
    graph = shared_users_graph(CHAIN, num_users=3, num_items=5, neighbours=2)
    known = torch.tensor([True, False, False, False, False])
    arrived = [
        fill_from_neighbours(graph, torch.ones(5, 1), known, steps=steps)[1].tolist()
        for steps in (1, 2, 3, 50)
    ]
    assert [row.count(True) for row in arrived] == [2, 3, 4, 4]
    assert not any(row[4] for row in arrived)


def test_far_items_are_reached_though_the_weights_on_the_way_vanish() -> None:
    # 60 steps through a hub of many: the product of the weights is below the least float32
    length, crowd = 60, 200
    chain = [(user, item) for user in range(length) for item in (user, user + 1)]
    extra = [(length + other, item) for other in range(crowd) for item in (length // 2, length + 1 + other)]
    num_items = length + 1 + crowd
    graph = shared_users_graph(
        log_of(*chain, *extra), num_users=length + crowd, num_items=num_items, neighbours=crowd + 2
    )
    known = torch.zeros(num_items, dtype=torch.bool)
    known[0] = True
    features = torch.full((num_items, 1), 1e-30)
    filled, there = fill_from_neighbours(graph, features, known, steps=num_items)
    assert there.all()
    assert filled[length].abs() < 1e-30


def test_many_steps_end_at_the_least_dirichlet_energy() -> None:
    generator = torch.Generator().manual_seed(3)
    log = Pairs(
        users=torch.randint(0, 12, (60,), generator=generator),
        items=torch.randint(0, 10, (60,), generator=generator),
    )
    graph = shared_users_graph(log, num_users=12, num_items=10, neighbours=4)
    known = torch.tensor([True, False] * 5)
    features = torch.randn(10, 2, generator=generator)
    filled, there = fill_from_neighbours(graph, features, known, steps=400)
    assert there.all()
    dense = graph.dense()
    of_unknown = torch.eye(5) - dense[~known][:, ~known]
    exact = torch.linalg.solve(of_unknown, dense[~known][:, known] @ features[known])
    assert torch.allclose(filled[~known], exact, atol=1e-4)


def test_what_is_not_known_is_not_read() -> None:
    graph = shared_users_graph(CHAIN, num_users=3, num_items=5, neighbours=2)
    known = torch.tensor([True, True, False, True, False])
    features = torch.ones(5, 2)
    features[~known] = torch.nan
    filled, _ = fill_from_neighbours(graph, features, known, steps=3)
    assert filled.isfinite().all()


def test_no_neighbours_and_no_steps_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected neighbours of at least 1, got 0"):
        shared_users_graph(CHAIN, num_users=3, num_items=5, neighbours=0)
    graph = shared_users_graph(CHAIN, num_users=3, num_items=5, neighbours=1)
    with pytest.raises(ConfigError, match="expected steps of at least 1, got 0"):
        fill_from_neighbours(graph, torch.ones(5, 1), torch.ones(5, dtype=torch.bool), steps=0)
