from __future__ import annotations

import pytest
import torch

from fuserec.metrics import RankedRelevance, reciprocal_rank


def test_the_reciprocal_rank_by_hand() -> None:
    hits = torch.tensor([[False, True, True], [False, False, False]])
    ranked = RankedRelevance.from_list(hits, torch.tensor([2, 1]))
    assert reciprocal_rank(ranked, 1).tolist() == [0.0, 0.0]
    assert reciprocal_rank(ranked, 3).tolist() == [0.5, 0.0]


def test_a_tie_averages_the_reciprocal_of_the_first_relevant_rank() -> None:
    # Two of three tied items are relevant: first at rank 1 in two thirds of the orders, else at rank 2.
    ranked = RankedRelevance.of(torch.zeros(1, 3), torch.tensor([[True, True, False]]), depth=3)
    assert reciprocal_rank(ranked, 3).item() == pytest.approx(2 / 3 + 1 / 3 / 2)


def test_a_tie_below_the_first_relevant_item_changes_nothing() -> None:
    scores = torch.tensor([[2.0, 1.0, 1.0, 1.0]])
    ranked = RankedRelevance.of(scores, torch.tensor([[True, True, False, False]]), depth=4)
    assert reciprocal_rank(ranked, 4).item() == 1.0
