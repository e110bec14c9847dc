"""The strategies draw valid values only, and do draw the awkward ones."""

from __future__ import annotations

import pytest
import torch
from hypothesis import find, given, settings

from fuserec.batch import Corpus, Histories, KnnGraph, Pairs, Prepared, Queries
from fuserec.testing import strategies

# The shape hook (beartype) looks at a random entry of each list it checks, which hypothesis warns about.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


@given(strategies.pairs(num_users=3, num_items=5))
def test_pairs_lie_in_their_tables(pairs: Pairs) -> None:
    assert pairs.users.shape == pairs.items.shape
    assert ((pairs.users >= 0) & (pairs.users < 3)).all()
    assert ((pairs.items >= 0) & (pairs.items < 5)).all()


@given(strategies.queries(num_users=3, num_items=5))
def test_queries_pair_each_user_with_a_history(queries: Queries) -> None:
    assert len(queries.users) == len(queries.histories)
    assert queries.histories.offsets[-1] == len(queries.histories.items)
    assert ((queries.users >= -1) & (queries.users < 3)).all()


@given(strategies.knn_graphs(num_items=5))
def test_neighbours_have_positive_weights_and_padding_has_none(graph: KnnGraph) -> None:
    assert torch.equal(graph.neighbours >= 0, graph.weights > 0)
    for row in graph.neighbours.tolist():
        real = [item for item in row if item >= 0]
        assert len(set(real)) == len(real)


@settings(max_examples=25, deadline=None)
@given(strategies.prepared())
def test_a_prepared_corpus_holds_out_two_items_of_each_user(prepared: Prepared) -> None:
    corpus = prepared.corpus
    users = torch.arange(corpus.num_users)
    assert torch.equal(prepared.valid.users, users)
    assert torch.equal(prepared.test.users, users)
    assert torch.equal(torch.unique(corpus.train.users), users)
    assert not torch.any(prepared.valid.items == prepared.test.items)


def _is_directed(graph: KnnGraph) -> bool:
    edges = {(a, b) for a, row in enumerate(graph.neighbours.tolist()) for b in row if b >= 0}
    return any((b, a) not in edges for a, b in edges)


def _holds_itself(graph: KnnGraph) -> bool:
    return bool((graph.neighbours == torch.arange(4)[:, None]).any())


def _empty_among_others(histories: Histories) -> bool:
    return len(histories) > 1 and 0 in histories.lengths.tolist() and int(histories.lengths.max()) > 0


def _lacks_everything(corpus: Corpus) -> bool:
    if not corpus.modalities:
        return False
    return not bool(torch.stack([modality.present for modality in corpus.modalities]).any(0).all())


@pytest.mark.parametrize(
    "awkward", [_is_directed, _holds_itself, lambda graph: (graph.neighbours < 0).all().item()]
)
def test_awkward_graphs_are_drawn(awkward) -> None:  # type: ignore[no-untyped-def]
    find(strategies.knn_graphs(num_items=4), awkward)


def test_awkward_histories_and_corpora_are_drawn() -> None:
    find(strategies.histories(num_items=3), _empty_among_others)
    find(strategies.histories(num_items=3), lambda drawn: len(drawn) == 0)
    find(strategies.corpora(), _lacks_everything)
    find(strategies.corpora(), lambda corpus: not corpus.modalities)
