from __future__ import annotations

import polars as pl
import pytest
import torch

from fuserec.batch import Histories
from fuserec.errors import DataError
from fuserec.index.answers import Answer, answers
from fuserec.index.recommend import Recommender
from fuserec.testing.scorers import TableScorer


@pytest.fixture
def recommender() -> Recommender:
    """ann had hat, then cat; bo had everything; cy had nothing."""
    return Recommender(
        scorer=TableScorer(torch.tensor([[9.0, 1.0, 3.0], [3.0, 2.0, 1.0], [0.0, 0.0, 0.0]])),
        user_ids=pl.Series(["ann", "bo", "cy"]),
        items=pl.DataFrame(
            {"item_id": [10, 20, 30], "title": ["hat", "cat", "mat"], "text": ["a", "b", "c"]}
        ),
        histories=Histories.from_lists([[0, 1], [0, 1, 2], []]),
        trained=torch.tensor([True, True, False]),
        popularity=torch.tensor([1, 5, 0]),
    )


def test_everyone_gets_an_answer_even_when_nothing_is_left(recommender: Recommender) -> None:
    ann, bo, cy = answers(recommender, k=1)
    assert ann == Answer(
        user_id="ann",
        source="model",
        lately=[{"item_id": 20, "title": "cat"}, {"item_id": 10, "title": "hat"}],
        unknown_items=[],
        items=[{"rank": 1, "item_id": 30, "score": 3.0, "title": "mat"}],
    )
    assert (bo.source, bo.items) == ("model", [])
    assert (cy.source, cy.lately, cy.items[0]["item_id"]) == ("popularity", [], 20)


def test_unknown_items_of_a_history_are_told(recommender: Recommender) -> None:
    known, empty = answers(recommender, histories=[[77, 10], [88]], k=1)
    assert (known.user_id, known.source, known.unknown_items) == (0, "history", [77])
    assert known.lately == [{"item_id": 10, "title": "hat"}]
    assert (empty.user_id, empty.source, empty.unknown_items) == (1, "popularity", [88])


def test_only_the_latest_are_told(recommender: Recommender) -> None:
    (bo,) = answers(recommender, ["bo"], lately=2)
    assert [item["title"] for item in bo.lately] == ["mat", "cat"]


def test_a_user_asked_for_twice_is_answered_twice(recommender: Recommender) -> None:
    first, second = answers(recommender, ["ann", "ann"])
    assert first == second


def test_an_unknown_user_is_an_error(recommender: Recommender) -> None:
    with pytest.raises(DataError, match="got 1 unknown: 'zed'"):
        list(answers(recommender, ["zed"]))
