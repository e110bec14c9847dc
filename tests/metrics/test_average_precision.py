from __future__ import annotations

import pytest
import torch

from fuserec.metrics import RankedRelevance, average_precision, average_precision_capped


def test_average_precision_by_hand() -> None:
    # Hits at ranks 1, 3 and 4: (1/1 + 2/3 + 3/4) / 3.
    ranked = RankedRelevance.from_list(torch.tensor([[True, False, True, True]]), torch.tensor([3]))
    assert average_precision(ranked, 4).item() == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert average_precision(ranked, 2).item() == pytest.approx(1 / 3)


def test_the_divisor_is_all_relevant_items_and_the_cutoff_caps_it_in_the_variant() -> None:
    ranked = RankedRelevance.from_list(torch.tensor([[True, True]]), torch.tensor([8]))
    assert average_precision(ranked, 2).item() == 0.25
    assert average_precision_capped(ranked, 2).item() == 1.0


def test_a_tie_of_two_relevant_among_three_by_hand() -> None:
    # Orders RRN: 1 + 1; RNR: 1 + 2/3; NRR: 1/2 + 2/3; each over 2 relevant items.
    ranked = RankedRelevance.of(torch.zeros(1, 3), torch.tensor([[True, True, False]]), depth=3)
    assert average_precision(ranked, 3).item() == pytest.approx((2 + 5 / 3 + 7 / 6) / 3 / 2)
