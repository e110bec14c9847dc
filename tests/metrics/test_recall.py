from __future__ import annotations

import pytest
import torch

from fuserec.metrics import RankedRelevance, recall


def test_recall_by_hand() -> None:
    hits = torch.tensor([[True, False, True, False], [False, False, False, True]])
    ranked = RankedRelevance.from_list(hits, torch.tensor([2, 10]))
    assert recall(ranked, 1).tolist() == [0.5, 0.0]
    assert recall(ranked, 4).tolist() == [1.0, 0.1]


def test_a_tie_across_the_cutoff_counts_by_its_share() -> None:
    # Rank 1 is relevant; three items tie for ranks 2 to 4, one of them relevant: 1 + 1/3 of 2 by rank 2.
    scores = torch.tensor([[9.0, 1.0, 1.0, 1.0]])
    ranked = RankedRelevance.of(scores, torch.tensor([[True, True, False, False]]), depth=4)
    assert recall(ranked, 2).item() == pytest.approx(2 / 3)
