from __future__ import annotations

import pytest
import torch

from fuserec.metrics import RankedRelevance, hit_rate


def test_the_hit_rate_by_hand() -> None:
    hits = torch.tensor([[False, True, True], [False, False, False]])
    ranked = RankedRelevance.from_list(hits, torch.tensor([2, 1]))
    assert hit_rate(ranked, 1).tolist() == [0.0, 0.0]
    assert hit_rate(ranked, 3).tolist() == [1.0, 0.0]


def test_a_tie_hits_with_the_probability_of_drawing_a_relevant_item() -> None:
    # Two of the four tied items fit; one of the four is relevant.
    ranked = RankedRelevance.of(torch.zeros(1, 4), torch.tensor([[False, False, True, False]]), depth=2)
    assert hit_rate(ranked, 2).item() == pytest.approx(0.5)
