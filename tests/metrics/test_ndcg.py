from __future__ import annotations

import math

import pytest
import torch

from fuserec.errors import ConfigError
from fuserec.metrics import RankedRelevance, ndcg, ndcg_of_retrieved


def test_ndcg_by_hand() -> None:
    # Hits at ranks 1 and 3 of three relevant items: (1 + 1/2) / (1 + 1/log2(3) + 1/2).
    ranked = RankedRelevance.from_list(torch.tensor([[True, False, True]]), torch.tensor([3]))
    assert ndcg(ranked, 3).item() == pytest.approx(1.5 / (1.5 + 1 / math.log2(3)))
    assert ndcg(ranked, 2).item() == pytest.approx(1 / (1 + 1 / math.log2(3)))


def test_the_standard_ideal_has_no_more_ones_than_ranks() -> None:
    ranked = RankedRelevance.from_list(torch.tensor([[True, True]]), torch.tensor([100]))
    assert ndcg(ranked, 2).item() == pytest.approx(1.0)


def test_a_tie_gains_the_mean_discount() -> None:
    ranked = RankedRelevance.of(torch.zeros(1, 3), torch.tensor([[True, False, False]]), depth=3)
    assert ndcg(ranked, 3).item() == pytest.approx((1 + 1 / math.log2(3) + 1 / 2) / 3)


def test_the_retrieved_ideal_by_hand() -> None:
    # Two of ten relevant items retrieved, at ranks 2 and 4 of a list of 4.
    ranked = RankedRelevance.from_list(torch.tensor([[False, True, False, True]]), torch.tensor([10]))
    second = 1 / math.log2(3)
    both = second + 1 / math.log2(5)
    assert ndcg_of_retrieved(ranked, 4, depth=4).item() == pytest.approx(both / (1 + second))
    # At cutoff 2 the ideal sorts the whole list of 4, so it still has two ones.
    assert ndcg_of_retrieved(ranked, 2, depth=4).item() == pytest.approx(second / (1 + second))
    assert ndcg_of_retrieved(ranked, 2, depth=2).item() == pytest.approx(second)


def test_the_retrieved_ideal_of_an_empty_handed_list_is_zero() -> None:
    ranked = RankedRelevance.from_list(torch.tensor([[False, False]]), torch.tensor([3]))
    assert ndcg_of_retrieved(ranked, 2, depth=2).tolist() == [0.0]


def test_the_retrieved_ideal_refuses_ties() -> None:
    ranked = RankedRelevance.of(torch.zeros(1, 3), torch.tensor([[True, False, False]]), depth=3)
    with pytest.raises(ConfigError, match="expected rankings without ties for the ideal 'retrieved'"):
        ndcg_of_retrieved(ranked, 2, depth=2)
