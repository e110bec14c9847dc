"""Hypothesis strategies for the values of `fuserec.batch`; awkward ones come often and shrink to small ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st

from fuserec.batch import Corpus, Histories, KnnGraph, Pairs, Prepared, Queries
from fuserec.testing.corpora import tiny_prepared

__all__ = ["corpora", "histories", "knn_graphs", "pairs", "prepared", "queries"]

_Draw = Callable[..., Any]  # hypothesis's own DrawFn is a protocol that the shape hook cannot check


def pairs(*, num_users: int, num_items: int) -> st.SearchStrategy[Pairs]:
    """User-item pairs: none at all, repeated ones, users and items that never occur."""
    pair = st.tuples(st.integers(0, num_users - 1), st.integers(0, num_items - 1))
    return st.lists(pair, max_size=30).map(
        lambda drawn: Pairs(
            users=torch.tensor([user for user, _ in drawn], dtype=torch.int64),
            items=torch.tensor([item for _, item in drawn], dtype=torch.int64),
        )
    )


def histories(*, num_items: int) -> st.SearchStrategy[Histories]:
    """Ragged histories: empty rows, repeated items, no row at all."""
    row = st.lists(st.integers(0, num_items - 1), max_size=8)
    return st.lists(row, max_size=6).map(Histories.from_lists)


@st.composite
def queries(draw: _Draw, *, num_users: int, num_items: int) -> Queries:
    """Trained and unseen users (-1) in any mixture, each with any history."""
    rows = draw(histories(num_items=num_items))
    users = draw(st.lists(st.integers(-1, num_users - 1), min_size=len(rows), max_size=len(rows)))
    return Queries(users=torch.tensor(users, dtype=torch.int64), histories=rows)


@st.composite
def knn_graphs(draw: _Draw, *, num_items: int) -> KnnGraph:
    """Directed neighbour lists: padded with -1, also whole rows, sometimes with the item itself."""
    width = draw(st.integers(1, 4))
    neighbours = torch.full((num_items, width), -1, dtype=torch.int64)
    weights = torch.zeros(num_items, width)
    for item in range(num_items):
        chosen = draw(st.lists(st.integers(0, num_items - 1), max_size=width, unique=True))
        neighbours[item, : len(chosen)] = torch.tensor(chosen, dtype=torch.int64)
        similarity = draw(st.lists(st.floats(0.125, 1, width=32), min_size=len(chosen), max_size=len(chosen)))
        weights[item, : len(chosen)] = torch.tensor(similarity)
    return KnnGraph(neighbours=neighbours, weights=weights)


@st.composite
def prepared(draw: _Draw) -> Prepared:
    """A `tiny_prepared` of any size and any seed; its planted structure included."""
    num_cold = draw(st.integers(0, 4))
    events_per_user = draw(st.integers(5, 7))
    return tiny_prepared(
        seed=draw(st.integers(0, 2**16)),
        num_users=draw(st.integers(15, 30)),
        num_items=num_cold + draw(st.integers(9, 15)),
        events_per_user=events_per_user,
        modalities=draw(st.sampled_from([("text", "image"), ("text",), ()])),
        ready_graph=draw(st.sampled_from([(), ("image",), ("audio",)])),
        missing=draw(st.sampled_from([0.2, 0.0, 0.9])),
        num_cold=num_cold,
        repeats=draw(st.booleans()),
    )


def corpora() -> st.SearchStrategy[Corpus]:
    """The corpus of a `prepared` dataset."""
    return prepared().map(lambda whole: whole.corpus)
