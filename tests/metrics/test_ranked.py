from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuserec.errors import ConfigError, DataError
from fuserec.metrics import METRICS, RankedRelevance, average_precision_capped, ndcg_of_retrieved

INF = float("inf")
FIELDS = ("group_start", "group_size", "group_relevant", "relevant_before", "num_relevant")


@st.composite
def rankings(draw: st.DrawFn) -> tuple[Tensor, Tensor, int]:
    """Scores with many ties, relevance with at least one relevant item a row, and a depth."""
    rows, items = draw(st.integers(1, 4)), draw(st.integers(1, 10))
    levels = st.sampled_from([-INF, 0.0, 0.5, 2.0])
    scores = draw(st.lists(st.lists(levels, min_size=items, max_size=items), min_size=rows, max_size=rows))
    flags = st.lists(st.booleans(), min_size=items, max_size=items).filter(any)
    relevant = draw(st.lists(flags, min_size=rows, max_size=rows))
    return torch.tensor(scores), torch.tensor(relevant), draw(st.integers(1, 12))


def from_top(scores: Tensor, relevant: Tensor, depth: int) -> RankedRelevance:
    padded = torch.nn.functional.pad(scores, (0, depth), value=-INF)
    values = padded.sort(dim=1, descending=True).values[:, :depth]
    rows, items = relevant.nonzero(as_tuple=True)
    return RankedRelevance.from_top(
        values,
        (padded == values[:, -1:]).sum(1),
        relevant_rows=rows,
        relevant_scores=scores[rows, items],
        num_relevant=relevant.sum(1),
    )


def test_groups_by_hand() -> None:
    scores = torch.tensor([[3.0, 1.0, 1.0, 2.0, 1.0, 0.0]])
    relevant = torch.tensor([[True, False, True, False, True, True]])
    ranked = RankedRelevance.of(scores, relevant, depth=4)
    assert ranked.group_start.tolist() == [[0, 1, 2, 2]]
    assert ranked.group_size.tolist() == [[1, 1, 3, 3]]
    assert ranked.group_relevant.tolist() == [[1, 0, 2, 2]]
    assert ranked.relevant_before.tolist() == [[0, 1, 1, 1]]
    assert ranked.num_relevant.tolist() == [4]
    torch.testing.assert_close(
        ranked.expected_relevance, torch.tensor([[1.0, 0.0, 2 / 3, 2 / 3]], dtype=torch.float64)
    )


def test_the_first_relevant_item_of_a_tie_by_hand() -> None:
    # Two of four tied items are relevant: the first one comes first with 1/2, second with 1/2 * 2/3,
    # third with 1/2 * 1/3, and never fourth.
    ranked = RankedRelevance.of(torch.zeros(1, 4), torch.tensor([[True, True, False, False]]), depth=4)
    torch.testing.assert_close(
        ranked.first_relevant, torch.tensor([[1 / 2, 1 / 3, 1 / 6, 0.0]], dtype=torch.float64)
    )


@settings(deadline=None)
@given(rankings())
def test_from_top_equals_counting_whole_rows(case: tuple[Tensor, Tensor, int]) -> None:
    scores, relevant, depth = case
    fast, literal = from_top(scores, relevant, depth), RankedRelevance.of(scores, relevant, depth=depth)
    candidates = (scores > -INF).sum(1, keepdim=True)
    ranked = torch.arange(depth) < candidates
    for field in ("group_start", "group_size"):
        assert torch.equal(getattr(fast, field)[ranked], getattr(literal, field)[ranked])
    for field in ("group_relevant", "relevant_before", "num_relevant"):
        assert torch.equal(getattr(fast, field), getattr(literal, field))
    assert fast.group_relevant[~ranked].sum() == 0
    for metric in METRICS.values():
        torch.testing.assert_close(metric(fast, depth), metric(literal, depth), rtol=0, atol=1e-12)


def test_a_list_is_a_ranking_without_ties() -> None:
    hits = torch.tensor([[False, True, True, False]])
    scores = torch.tensor([[4.0, 3.0, 2.0, 1.0]])
    listed = RankedRelevance.from_list(hits, torch.tensor([2]))
    literal = RankedRelevance.of(scores, hits, depth=4)
    for field in FIELDS:
        assert torch.equal(getattr(listed, field), getattr(literal, field))


def test_a_masked_relevant_item_is_not_found_but_still_counts() -> None:
    scores = torch.tensor([[-INF, 1.0, 0.0]])
    ranked = from_top(scores, torch.tensor([[True, False, True]]), 3)
    assert ranked.num_relevant.tolist() == [2]
    assert ranked.group_relevant.tolist() == [[0, 1, 0]]


def test_a_row_without_relevant_items_is_refused() -> None:
    hits = torch.tensor([[True], [False]])
    with pytest.raises(DataError, match="at least one relevant item in every ranking, got none in row 1"):
        RankedRelevance.from_list(hits, torch.tensor([1, 0]))


@pytest.mark.parametrize("metric", [*METRICS.values(), average_precision_capped])
@pytest.mark.parametrize("k", [0, 3])
def test_a_cutoff_that_was_not_ranked_is_refused(metric: object, k: int) -> None:
    ranked = RankedRelevance.from_list(torch.tensor([[True, False]]), torch.tensor([1]))
    assert callable(metric)
    with pytest.raises(ConfigError, match=f"expected a cutoff from 1 to 2, the ranks kept, got {k}"):
        metric(ranked, k)


def test_the_retrieved_ideal_refuses_a_list_shorter_than_the_cutoff() -> None:
    ranked = RankedRelevance.from_list(torch.tensor([[True, False]]), torch.tensor([1]))
    with pytest.raises(ConfigError, match="expected a retrieved list of 2 to 2 items, got 1"):
        ndcg_of_retrieved(ranked, 2, depth=1)


def test_every_metric_stands_in_the_table_and_lies_between_0_and_1() -> None:
    assert list(METRICS) == ["Recall", "NDCG", "Precision", "MAP", "MRR", "HitRate"]
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 3, (50, 12), generator=generator).float()
    relevant = torch.rand(50, 12, generator=generator) < 0.3
    relevant[:, 0] = True
    ranked = RankedRelevance.of(scores, relevant, depth=12)
    for metric in METRICS.values():
        for k in range(1, 13):
            values = metric(ranked, k)
            assert values.dtype == torch.float64
            assert values.shape == (50,)
            assert values.min() >= 0
            assert values.max() <= 1 + 1e-12
