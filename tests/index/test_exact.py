from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuserec.batch import Histories, Queries
from fuserec.errors import CheckpointError, ConfigError
from fuserec.index import exact
from fuserec.index.exact import rank_items
from fuserec.models.two_tower import TwoTower
from fuserec.testing.scorers import TableScorer


def queries(count: int) -> Queries:
    return Queries(users=torch.arange(count), histories=Histories.from_lists([[] for _ in range(count)]))


def literal(scores: Tensor, k: int) -> list[list[int]]:
    return [sorted(range(len(row)), key=lambda item: (-row[item], item))[:k] for row in scores.tolist()]


def test_ranks_by_hand_with_ties_to_the_lower_row() -> None:
    ranking = rank_items(
        TableScorer(torch.tensor([[0.5, 2.0, 0.5, 1.0], [0.0, 0.0, 0.0, 0.0]])), queries(2), k=3
    )
    assert ranking.queries.tolist() == [0, 0, 0, 1, 1, 1]
    assert ranking.items.tolist() == [1, 3, 0, 0, 1, 2]
    assert ranking.ranks.tolist() == [1, 2, 3, 1, 2, 3]
    assert ranking.scores.tolist() == [2.0, 1.0, 0.5, 0.0, 0.0, 0.0]


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 5).flatmap(
        lambda width: st.lists(
            st.lists(st.integers(-2, 2), min_size=width, max_size=width), min_size=1, max_size=6
        )
    ),
    st.integers(1, 7),
)
def test_a_ranking_is_that_of_a_literal_sort(rows: list[list[int]], k: int) -> None:
    scores = torch.tensor(rows, dtype=torch.float32)
    ranking = rank_items(TableScorer(scores), queries(len(rows)), k=k)
    expected = literal(scores, k)
    assert ranking.items.tolist() == [item for row in expected for item in row]
    assert ranking.ranks.tolist() == [rank for row in expected for rank in range(1, len(row) + 1)]
    assert torch.equal(ranking.scores, scores[ranking.queries, ranking.items])


def test_the_size_of_a_chunk_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = TableScorer(torch.randint(0, 4, (23, 11), generator=torch.Generator().manual_seed(0)).float())
    whole = rank_items(scorer, queries(23), k=5)
    monkeypatch.setattr(exact, "SCORES_IN_MEMORY", 30)
    chunked = rank_items(scorer, queries(23), k=5)
    assert torch.equal(whole.items, chunked.items)
    assert torch.equal(whole.queries, chunked.queries)
    assert max(scorer.asked) == 23
    assert scorer.asked[1:] == [2] * 11 + [1]


def test_excluded_items_never_appear_and_rankings_get_shorter() -> None:
    scorer = TableScorer(torch.tensor([[4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0]]))
    seen = Histories.from_lists([[0, 1], [3, 3, 2, 1]])
    ranking = rank_items(scorer, queries(2), k=3, exclude=seen)
    assert list(zip(ranking.queries.tolist(), ranking.items.tolist(), strict=True)) == [
        (0, 2),
        (0, 3),
        (1, 0),
    ]


def test_only_candidates_appear() -> None:
    scorer = TableScorer(torch.tensor([[4.0, 3.0, 2.0, 1.0]]))
    ranking = rank_items(scorer, queries(1), k=3, candidates=torch.tensor([False, True, False, True]))
    assert ranking.items.tolist() == [1, 3]


def test_no_query_gives_an_empty_ranking() -> None:
    assert len(rank_items(TableScorer(torch.zeros(0, 3)), queries(0), k=2).items) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_an_error(bad: float) -> None:
    with pytest.raises(CheckpointError, match="expected finite scores from the run"):
        rank_items(TableScorer(torch.tensor([[1.0, bad]])), queries(1), k=1)


def test_k_below_one_is_an_error() -> None:
    with pytest.raises(ConfigError, match="expected k of at least 1, got 0"):
        rank_items(TableScorer(torch.zeros(1, 3)), queries(1), k=0)


def test_a_k_far_above_the_catalogue_costs_no_memory() -> None:
    ranking = rank_items(TableScorer(torch.tensor([[1.0, 2.0]])), queries(1), k=10**30)
    assert ranking.items.tolist() == [1, 0]


@pytest.mark.parametrize("num_items", [97, 1000, 3706])
def test_items_that_were_added_change_no_bit_of_the_scores_before_them(num_items: int) -> None:
    rng = torch.Generator().manual_seed(0)
    user, item = torch.randn(64, 128, generator=rng), torch.randn(num_items + 17, 128, generator=rng)

    def towers(count: int) -> TwoTower:
        rows = item[:count]
        return TwoTower(user=user, item=rows, fold=rows, foldable=torch.ones(count, dtype=torch.bool))

    for count in (1, 3, 64):
        alone = rank_items(towers(num_items), queries(count), k=num_items)
        added = rank_items(towers(num_items + 17), queries(count), k=num_items + 17, first_added=num_items)
        before = added.items < num_items
        assert torch.equal(added.items[before], alone.items)
        assert torch.equal(added.scores[before], alone.scores)
        assert int((~before).sum()) == 17 * count
