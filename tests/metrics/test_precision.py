from __future__ import annotations

import pytest
import torch

from fuserec.metrics import RankedRelevance, precision


def test_precision_by_hand() -> None:
    hits = torch.tensor([[True, False, True, False], [False, False, False, True]])
    ranked = RankedRelevance.from_list(hits, torch.tensor([2, 10]))
    assert precision(ranked, 1).tolist() == [1.0, 0.0]
    assert precision(ranked, 4).tolist() == [0.5, 0.25]


def test_the_divisor_is_k_also_where_candidates_run_out() -> None:
    scores = torch.tensor([[1.0, -torch.inf, -torch.inf, -torch.inf]])
    ranked = RankedRelevance.of(scores, torch.tensor([[True, False, False, False]]), depth=4)
    assert precision(ranked, 4).item() == 0.25


def test_a_tie_across_the_cutoff_counts_by_its_share() -> None:
    ranked = RankedRelevance.of(torch.zeros(1, 5), torch.tensor([[True, True, False, False, False]]), depth=2)
    assert precision(ranked, 2).item() == pytest.approx(2 / 5)
