from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
import torch

from fuserec.batch import Histories, Queries
from fuserec.errors import ConfigError, DataError
from fuserec.index.recommend import Recommender
from fuserec.models.sequence_scorer import SequenceScorer
from fuserec.nn.encoder import Encoder
from fuserec.testing.scorers import TableScorer

NEIGHBOURS = torch.tensor(
    [[0.0, 3.0, 0.0, 0.0], [3.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 2.0], [0.0, 0.0, 2.0, 0.0]]
)


@pytest.fixture
def recommender() -> Recommender:
    """ann was trained and had hat; bo was not trained but had mat; cy has nothing at all."""
    return Recommender(
        scorer=TableScorer(torch.tensor([[9.0, 1.0, 3.0, 2.0], [0.0] * 4, [0.0] * 4]), NEIGHBOURS),
        user_ids=pl.Series(["ann", "bo", "cy"]),
        items=pl.DataFrame({"item_id": [10, 20, 30, 40], "title": ["hat", "cat", "mat", None]}),
        histories=Histories.from_lists([[0], [2], []]),
        trained=torch.tensor([True, False, False]),
        popularity=torch.tensor([1, 5, 0, 5]),
    )


def rows(frame: pl.DataFrame, *columns: str) -> list[tuple[object, ...]]:
    return frame.select(columns).rows()


def test_a_trained_user_gets_what_the_model_says(recommender: Recommender) -> None:
    frame = recommender.recommend(["ann"], k=2)
    assert frame.columns == ["user_id", "item_id", "score", "rank", "source", "title"]
    assert frame.rows() == [("ann", 30, 3.0, 1, "model", "mat"), ("ann", 40, 2.0, 2, "model", None)]


def test_a_user_who_was_not_trained_is_served_from_their_history(recommender: Recommender) -> None:
    assert rows(recommender.recommend(["bo"], k=2), "item_id", "score", "source") == [
        (40, 2.0, "history"),
        (20, 1.0, "history"),
    ]


def test_an_empty_history_gets_popularity_and_is_labelled_so(recommender: Recommender) -> None:
    expected = [(20, 5.0, 1, "popularity"), (40, 5.0, 2, "popularity"), (10, 1.0, 3, "popularity")]
    assert rows(recommender.recommend(["cy"], k=3), "item_id", "score", "rank", "source") == expected
    assert rows(recommender.recommend(histories=[[]], k=3), "item_id", "score", "rank", "source") == expected


def test_a_history_that_the_model_knows_nothing_of_gets_popularity_without_what_was_had(
    recommender: Recommender,
) -> None:
    nothing = NEIGHBOURS.clone()
    nothing[3] = 0.0  # item 40, as one that was never trained
    mute = replace(recommender, scorer=TableScorer(torch.zeros(3, 4), nothing))
    frame = mute.recommend(["a", "b"], histories=[[40], [10]], k=2)
    assert rows(frame, "user_id", "item_id", "score", "source") == [
        ("a", 20, 5.0, "popularity"),
        ("a", 10, 1.0, "popularity"),
        ("b", 20, 3.0, "history"),
        ("b", 30, 0.0, "history"),
    ]
    # a trained user stays the model's, whatever it says
    assert set(mute.recommend(["ann"])["source"]) == {"model"}


def test_a_given_history_is_like_that_of_a_user_who_was_not_trained(recommender: Recommender) -> None:
    given = recommender.recommend(histories=[[30]], k=4)
    known = recommender.recommend(["bo"], k=4)
    assert given.drop("user_id").equals(known.drop("user_id"))
    assert given["user_id"].unique().to_list() == [0]


def test_users_name_the_histories(recommender: Recommender) -> None:
    frame = recommender.recommend(["new", "newer"], histories=[[], [20]], k=1)
    assert rows(frame, "user_id", "item_id", "source") == [
        ("new", 20, "popularity"),
        ("newer", 10, "history"),
    ]


def test_all_users_come_in_their_order_whatever_serves_them(recommender: Recommender) -> None:
    frame = recommender.recommend(k=1)
    assert rows(frame, "user_id", "source") == [("ann", "model"), ("bo", "history"), ("cy", "popularity")]


def test_users_keep_the_order_asked_for_and_may_repeat(recommender: Recommender) -> None:
    assert recommender.recommend(["cy", "ann", "cy"], k=1)["user_id"].to_list() == ["cy", "ann", "cy"]


def test_seen_items_come_back_only_when_asked(recommender: Recommender) -> None:
    assert 10 not in recommender.recommend(["ann"])["item_id"].to_list()
    assert recommender.recommend(["ann"], filter_viewed=False)["item_id"].to_list() == [10, 30, 40, 20]


def test_a_dataset_with_repeats_keeps_seen_items_by_default(recommender: Recommender) -> None:
    music = Recommender(
        **{name: getattr(recommender, name) for name in recommender.__slots__ if name != "repeats"},
        repeats=True,
    )
    assert music.recommend(["ann"], k=1)["item_id"].to_list() == [10]
    assert music.recommend(["ann"], k=1, filter_viewed=True)["item_id"].to_list() == [30]


def test_items_to_recommend_bound_every_source(recommender: Recommender) -> None:
    frame = recommender.recommend(k=4, items_to_recommend=[20, 30])
    assert rows(frame, "user_id", "item_id") == [
        ("ann", 30),
        ("ann", 20),
        ("bo", 20),
        ("cy", 20),
        ("cy", 30),
    ]


def test_fewer_candidates_than_k_give_fewer_rows(recommender: Recommender) -> None:
    assert recommender.recommend(["ann"], k=100)["rank"].to_list() == [1, 2, 3]


def test_unknown_users_are_named(recommender: Recommender) -> None:
    with pytest.raises(DataError, match="got 2 unknown: 'dan', 'eve'; give a history instead"):
        recommender.recommend(["ann", "dan", "eve"])


def test_unknown_items_of_a_history_are_named(recommender: Recommender) -> None:
    with pytest.raises(
        DataError, match="expected item ids of the dataset, got 1 unknown: 77; leave them out"
    ):
        recommender.recommend(histories=[[10, 77]])


def test_a_text_in_the_place_of_a_history_is_told(recommender: Recommender) -> None:
    with pytest.raises(DataError, match="expected a list of item ids for each history, got the text '10'"):
        recommender.recommend(histories=["10"])


def test_known_items_sorts_out_a_history(recommender: Recommender) -> None:
    assert recommender.known_items([77, 10, 88, 40]) == ([10, 40], [77, 88])


def test_ids_written_as_text_find_integers_but_only_exactly(recommender: Recommender) -> None:
    given = recommender.recommend(histories=[["10"]])
    assert given.equals(recommender.recommend(histories=[[10]]))
    with pytest.raises(DataError, match="got 2 unknown: '010', 'x'"):
        recommender.recommend(histories=[["10", "010", "x"]])


def test_users_and_histories_must_be_as_many(recommender: Recommender) -> None:
    with pytest.raises(ConfigError, match="expected a user for each of the 1 histories, got 2"):
        recommender.recommend(["a", "b"], histories=[[10]])


def test_no_user_at_all_gives_an_empty_table(recommender: Recommender) -> None:
    frame = recommender.recommend([], k=3)
    assert frame.is_empty()
    assert frame.columns == ["user_id", "item_id", "score", "rank", "source", "title"]


# --- a scorer that reads histories in their order


@pytest.fixture
def ordered(recommender: Recommender) -> Recommender:
    """The same users and items; the model has no vector of item 40."""
    generator = torch.Generator().manual_seed(0)
    options = {"heads": 1, "hidden": 8}
    encoder = Encoder("transformer", dim=4, num_layers=1, options=options, dropout=0.0, generator=generator)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    item = torch.randn(4, 4, generator=generator)
    item[3] = 0.0
    encoder.eval().requires_grad_(requires_grad=False)
    return replace(recommender, scorer=SequenceScorer(item=item, encoder=encoder))


def test_the_order_of_a_given_history_is_heard(ordered: Recommender) -> None:
    frame = ordered.recommend(histories=[[10, 20], [20, 10]], filter_viewed=False, k=4)
    one, other = frame.partition_by("user_id", include_key=False)
    assert not one["score"].equals(other["score"])
    assert set(frame["source"]) == {"history"}


def test_known_users_are_served_by_all_their_events_in_their_order(ordered: Recommender) -> None:
    known = replace(ordered, histories=Histories.from_lists([[0, 2, 1], [2], []]))
    found = known.recommend(["ann", "bo"], filter_viewed=False, k=4)
    given = known.recommend(["ann", "bo"], histories=[[10, 30, 20], [30]], filter_viewed=False, k=4)
    assert found.drop("source").equals(given.drop("source"))
    assert found["source"].to_list() == ["model"] * 4 + ["history"] * 4


def test_an_empty_history_is_told_what_people_begin_with(ordered: Recommender) -> None:
    cy = ordered.recommend(["cy"], k=4)
    assert set(cy["source"]) == {"start"}
    nobody = Queries(users=torch.tensor([-1]), histories=Histories.from_lists([[]]))
    expected = ordered.scorer.scores(nobody, slice(0, 4))[0].sort(descending=True)
    assert cy["score"].to_list() == pytest.approx(expected.values.tolist())
    assert cy["item_id"].to_list() == [10 * (1 + row) for row in expected.indices.tolist()]


def test_a_history_of_items_without_a_vector_is_an_empty_one(ordered: Recommender) -> None:
    frame = ordered.recommend(["a", "b", "c"], histories=[[40], [], [40, 10]], filter_viewed=False, k=4)
    one, other, third = frame.partition_by("user_id", include_key=False)
    assert one.equals(other)
    assert set(one["source"]) == {"start"}
    assert set(third["source"]) == {"history"}
    assert 40 not in ordered.recommend(histories=[[40]], k=4)["item_id"].to_list(), "it was had"
