from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
import torch

from fuserec.batch import Histories
from fuserec.errors import ConfigError, DataError
from fuserec.index.answers import similar_items
from fuserec.index.filters import Filters
from fuserec.index.recommend import Recommender
from fuserec.index.similar import neighbour_scorer
from fuserec.models.item_to_item import ItemToItem
from fuserec.models.popularity import PopularityScorer
from fuserec.models.protocol import Scorer
from fuserec.models.sequence_scorer import SequenceScorer
from fuserec.models.tmfun import Tmfun
from fuserec.models.tmfun_config import TmfunConfig
from fuserec.models.transition_table import TransitionTable
from fuserec.models.two_tower import TwoTower
from fuserec.nn.encoder import Encoder
from fuserec.ops.sum_rows import SparseRows
from fuserec.testing.corpora import tiny_corpus

VECTORS = torch.tensor([[2.0, 0.0], [0.0, 5.0], [3.0, 3.0], [-1.0, 0.0], [0.0, 0.0]])
TOWERS = TwoTower(
    user=torch.ones(1, 2), item=VECTORS, fold=VECTORS.flip(1), foldable=torch.zeros(5, dtype=torch.bool)
)


def recommender(scorer: Scorer) -> Recommender:
    return Recommender(
        scorer=scorer,
        user_ids=pl.Series(["ann"]),
        items=pl.DataFrame(
            {
                "item_id": ["hat-1", "cat-1", "mat-1", "bat-1", "new-1"],
                "title": ["Hat", "Cat", "Mat", None, "New"],
                "category": ["x", "y", "x", "y", "x"],
            }
        ),
        histories=Histories.from_lists([[0]]),
        trained=torch.tensor([True]),
        popularity=torch.tensor([4, 3, 2, 1, 0]),
    )


def test_two_towers_compare_items_by_cosine_whatever_their_lengths() -> None:
    frame = recommender(TOWERS).similar("hat-1", k=4)
    assert frame.columns == ["item_id", "score", "rank", "title"]
    assert frame.select("item_id", "rank", "title").rows() == [
        ("mat-1", 1, "Mat"),
        ("cat-1", 2, "Cat"),
        ("new-1", 3, "New"),
        ("bat-1", 4, None),
    ]
    assert frame["score"].to_list() == pytest.approx([0.5**0.5, 0.0, 0.0, -1.0], abs=1e-6)


def test_item_to_item_weights_are_read_along_the_row_of_the_item() -> None:
    weights = torch.arange(25.0).reshape(5, 5)
    frame = recommender(ItemToItem(weights)).similar("cat-1", k=2)
    assert frame.select("item_id", "score").rows() == [("new-1", 9.0), ("bat-1", 8.0)]
    # which is what somebody who had the item alone is served
    served = recommender(ItemToItem(weights)).recommend(histories=[["cat-1"]], k=2)
    assert served.select("item_id", "score").equals(frame.select("item_id", "score"))


def test_sparse_weights_give_what_dense_ones_give() -> None:
    weights = torch.tensor([[0.0, 0.5, 0.0, 2.0, 0.0]] + [[0.0] * 5] * 4)
    where = weights.nonzero()
    sparse = SparseRows.from_entries(where[:, 0], where[:, 1], weights[weights != 0], shape=(5, 5))
    dense = recommender(ItemToItem(weights)).similar("hat-1")
    assert dense["item_id"].to_list() == ["bat-1", "cat-1", "mat-1", "new-1"]
    assert recommender(ItemToItem(sparse)).similar("hat-1").equals(dense)


def test_a_transition_table_says_what_follows_the_item() -> None:
    weights = SparseRows.from_entries(
        torch.tensor([0, 0, 1]), torch.tensor([1, 3, 0]), torch.tensor([0.5, 2.0, 9.0]), shape=(5, 5)
    )
    frame = recommender(TransitionTable(weights, torch.tensor([1.0, 0.5]))).similar("hat-1", k=2)
    assert frame.select("item_id", "score").rows() == [("bat-1", 2.0), ("cat-1", 0.5)]


def sequences() -> SequenceScorer:
    """Items as in `TOWERS`; what it says of a history of one item is another order."""
    generator = torch.Generator().manual_seed(0)
    options = {"heads": 1, "hidden": 4}
    encoder = Encoder("transformer", dim=2, num_layers=1, options=options, dropout=0.0, generator=generator)
    return SequenceScorer(item=VECTORS, encoder=encoder.eval().requires_grad_(requires_grad=False))


def test_of_sequences_it_is_the_cosine_of_the_items_and_not_what_follows() -> None:
    found = recommender(sequences())
    assert found.similar("hat-1", k=4).equals(recommender(TOWERS).similar("hat-1", k=4))
    follows = found.recommend(histories=[["hat-1"]], k=4)
    assert follows["item_id"].to_list() != found.similar("hat-1", k=4)["item_id"].to_list()
    with pytest.raises(DataError, match="holds every other item equally similar to 'new-1'"):
        found.similar("new-1")


def test_popularity_refuses() -> None:
    popular = recommender(PopularityScorer(torch.ones(5)))
    with pytest.raises(
        ConfigError, match="expected a model that relates items to each other, got the scorer 'popularity'"
    ):
        popular.similar("hat-1")


def test_pair_scope_refuses_since_an_item_has_no_vector_of_its_own() -> None:
    corpus = tiny_corpus()
    config = TmfunConfig(dim=4, num_neighbours=3, scope="pair")
    model = Tmfun(config, corpus, generator=torch.Generator().manual_seed(0))
    with pytest.raises(
        ConfigError,
        match=r"^expected a model that relates items to each other, got the scorer 'pair_fusion', which does not; [^\n]+$",
    ):
        neighbour_scorer(model.scorer())


def test_an_item_that_the_model_knows_nothing_of_is_refused() -> None:
    with pytest.raises(DataError, match="holds every other item equally similar to 'new-1'"):
        recommender(TOWERS).similar("new-1")


def test_an_unknown_item_is_told_with_one_that_looks_like_it() -> None:
    with pytest.raises(
        DataError,
        match="got 1 unknown: 'mat-2'; ask for one of its items; did you mean 'mat-1'",
    ):
        recommender(TOWERS).similar("mat-2")


def test_withdrawn_items_are_not_shown_but_may_be_asked_for() -> None:
    withdrawn = replace(recommender(TOWERS), available=torch.tensor([False, True, False, True, True]))
    assert withdrawn.similar("hat-1", k=2)["item_id"].to_list() == ["cat-1", "new-1"]
    assert withdrawn.recommend(["ann"], k=5, filter_viewed=False)["item_id"].to_list() == [
        "cat-1",
        "new-1",
        "bat-1",
    ]
    # popularity, which serves an empty history, withdraws them too
    assert "hat-1" not in withdrawn.recommend(histories=[[]])["item_id"].to_list()
    # and a history may hold them
    assert withdrawn.recommend(histories=[["hat-1"]], k=1)["item_id"].to_list() == ["cat-1"]


def test_the_answer_tells_the_item_and_those_like_it() -> None:
    found = similar_items(recommender(TOWERS), "hat-1", k=1, filters=Filters(categories=["y"]))
    assert found.item == {"item_id": "hat-1", "title": "Hat", "category": "x"}
    assert found.items == [
        {"rank": 1, "item_id": "cat-1", "score": 0.0, "title": "Cat", "category": "y"},
    ]


def test_asking_leaves_the_scorer_as_it_was() -> None:
    before = TOWERS.item.clone()
    recommender(TOWERS).similar("hat-1")
    assert torch.equal(TOWERS.item, before)
