from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from fuserec.batch import Corpus, Pairs
from fuserec.errors import ConfigError
from fuserec.models.behaviour_graph import behaviour_graph
from fuserec.testing.corpora import tiny_corpus


def corpus_of(pairs: list[tuple[int, int]], *, num_users: int, num_items: int) -> Corpus:
    users, items = (torch.tensor(column) for column in zip(*pairs, strict=True))
    return Corpus(
        num_users=num_users, num_items=num_items, train=Pairs(users=users, items=items), modalities=()
    )


def literal(corpus: Corpus, *, k: int, regularisation: float) -> np.ndarray:
    """EASE from numpy's inverse, its k largest weights above 0 in each column, transposed and normalised."""
    x = np.zeros((corpus.num_users, corpus.num_items))
    x[corpus.train.users.numpy(), corpus.train.items.numpy()] = 1.0
    p = np.linalg.inv(x.T @ x + regularisation * np.eye(corpus.num_items))
    ease = -p / np.diag(p)
    b = np.zeros_like(ease)
    for j in range(corpus.num_items):
        column = {i: ease[i, j] for i in range(corpus.num_items) if i != j}
        ranked = sorted(column, key=lambda i, column=column: -column[i])  # type: ignore[misc]
        cut = [column[i] for i in ranked[k - 1 : k + 1]]
        assert all(one - other > 1e-6 or one < 1e-9 for one, other in pairwise(cut)), (
            "a tie at the cut: this corpus cannot tell which neighbour is right"
        )
        for i in ranked[:k]:
            b[j, i] = max(column[i], 0.0)
    b[b < 1e-9] = 0.0
    of_rows, of_columns = b.sum(1, keepdims=True), b.sum(0, keepdims=True)
    graph: np.ndarray = np.divide(b, np.sqrt(of_rows * of_columns), out=np.zeros_like(b), where=b > 0)
    return graph


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("regularisation", [0.7, 20.0])
@pytest.mark.parametrize("k", [1, 3, 99])
def test_it_is_the_literal_graph_of_the_largest_weights(
    k: int, regularisation: float, *, repeats: bool
) -> None:
    corpus = tiny_corpus(num_users=60, num_items=14, num_cold=2, repeats=repeats)
    found = behaviour_graph(corpus, k=k, regularisation=regularisation, max_items=14)
    expected = literal(corpus, k=k, regularisation=regularisation)
    assert ((expected > 0) != (expected.T > 0)).any() or k == 99
    np.testing.assert_allclose(found.dense().numpy(), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.backward.to_dense().numpy(), expected.T, rtol=1e-4, atol=1e-6)


def test_a_cold_item_has_no_neighbours_and_is_nobodys() -> None:
    corpus = tiny_corpus(num_cold=3)
    found = behaviour_graph(corpus, k=99, regularisation=5.0, max_items=30).dense()
    cold = corpus.popularity() == 0
    assert int(cold.sum()) == 3
    assert not found[cold].any()
    assert not found[:, cold].any()
    assert found[~cold].any(1).all()


def test_two_items_are_each_others_neighbours_with_weight_1() -> None:
    """K_01 = c / (n_0 + lambda) and K_10 = c / (n_1 + lambda) differ; each is all there is in its row and column."""
    corpus = corpus_of([(0, 0), (0, 1), (1, 0), (2, 0)], num_users=3, num_items=2)
    found = behaviour_graph(corpus, k=20, regularisation=2.0, max_items=2)
    torch.testing.assert_close(found.dense(), torch.tensor([[0.0, 1.0], [1.0, 0.0]]))


def test_a_row_says_who_speaks_for_the_item_not_whom_it_speaks_for() -> None:
    """Items 1 to 3 were had with item 0 alone, item 1 twice: 0 speaks most for each of them, item 1 most for 0."""
    corpus = corpus_of(
        [(0, 0), (0, 1), (1, 0), (1, 2), (2, 0), (2, 3), (3, 0), (3, 1)], num_users=4, num_items=4
    )
    found = behaviour_graph(corpus, k=1, regularisation=1.0, max_items=4).dense()
    places = [tuple(place) for place in found.nonzero().tolist()]
    assert places == [(0, 1), (1, 0), (2, 0), (3, 0)]


def test_items_that_no_user_had_together_have_no_edge() -> None:
    corpus = corpus_of([(0, 0), (1, 1), (2, 2)], num_users=3, num_items=3)
    assert not behaviour_graph(corpus, k=2, regularisation=1.0, max_items=3).dense().any()


def test_a_catalogue_of_one_item_has_an_empty_graph() -> None:
    corpus = corpus_of([(0, 0)], num_users=1, num_items=1)
    assert behaviour_graph(corpus, k=5, regularisation=1.0, max_items=1).dense().tolist() == [[0.0]]


def test_a_catalogue_too_large_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="expected at most max_items = 29 items for a dense solution, got 30"
    ):
        behaviour_graph(tiny_corpus(), k=5, regularisation=1.0, max_items=29)
