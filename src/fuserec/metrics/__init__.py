"""Ranking metrics: pure functions of `RankedRelevance`, one value a user, ties by their expectation."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fuserec.metrics.average_precision import average_precision, average_precision_capped
from fuserec.metrics.hit_rate import hit_rate
from fuserec.metrics.ndcg import ndcg, ndcg_of_retrieved
from fuserec.metrics.precision import precision
from fuserec.metrics.ranked import RankedRelevance
from fuserec.metrics.recall import recall
from fuserec.metrics.reciprocal_rank import reciprocal_rank

__all__ = [
    "METRICS",
    "Metric",
    "RankedRelevance",
    "average_precision",
    "average_precision_capped",
    "hit_rate",
    "ndcg",
    "ndcg_of_retrieved",
    "precision",
    "recall",
    "reciprocal_rank",
]

Metric = Callable[[RankedRelevance, int], Tensor]
"""``metric(ranked, k)`` is a (B,) float64 tensor, one value a user."""

METRICS: dict[str, Metric] = {
    "Recall": recall,
    "NDCG": ndcg,
    "Precision": precision,
    "MAP": average_precision,
    "MRR": reciprocal_rank,
    "HitRate": hit_rate,
}
"""The metrics by the names that reports use, as in ``Recall@20``."""
