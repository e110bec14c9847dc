"""Without ties, every metric equals that of ir-measures (which asks trec_eval)."""

from __future__ import annotations

import ir_measures
import pytest
import torch
from ir_measures import AP, RR, P, R, Success, nDCG

from fuserec.metrics import METRICS, RankedRelevance

NAMES = {"Recall": R, "NDCG": nDCG, "Precision": P, "MAP": AP, "MRR": RR, "HitRate": Success}
CUTOFFS = (1, 5, 20, 50)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_equals_that_of_ir_measures(name: str) -> None:
    generator = torch.Generator().manual_seed(7)
    users, items = 120, 90
    scores = torch.rand(users, items, generator=generator, dtype=torch.float64).argsort(1).double()
    # From one relevant item up to two thirds of the catalogue, so that some users have more than k.
    share = torch.linspace(0.01, 0.66, users)[:, None]
    relevant = torch.rand(users, items, generator=generator) < share
    relevant[torch.arange(users), torch.randint(0, items, (users,), generator=generator)] = True
    masked = torch.rand(users, items, generator=generator) < 0.1
    scores[masked & ~relevant] = -torch.inf
    ranked = RankedRelevance.of(scores, relevant, depth=max(CUTOFFS))

    truth = [
        ir_measures.Qrel(str(user), str(item), int(relevant[user, item]))
        for user in range(users)
        for item in range(items)
    ]
    run = [
        ir_measures.ScoredDoc(str(user), str(item), scores[user, item].item())
        for user in range(users)
        for item in range(items)
        if scores[user, item] > -torch.inf
    ]
    measures = {NAMES[name] @ k: k for k in CUTOFFS}
    ours = {k: METRICS[name](ranked, k) for k in CUTOFFS}
    rows = list(ir_measures.iter_calc(list(measures), truth, run))
    assert len(rows) == users * len(CUTOFFS)
    difference = max(abs(row.value - ours[measures[row.measure]][int(row.query_id)].item()) for row in rows)
    assert difference < 1e-12
