"""Every metric on tied scores is its mean over all orders of the tied items."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.metrics import METRICS, RankedRelevance, average_precision_capped


def literal_recall(hits: list[bool], k: int, total: int) -> float:
    return sum(hits[:k]) / total


def literal_precision(hits: list[bool], k: int, total: int) -> float:
    return sum(hits[:k]) / k


def literal_ndcg(hits: list[bool], k: int, total: int) -> float:
    gain = sum(1 / math.log2(rank + 1) for rank, hit in enumerate(hits[:k], start=1) if hit)
    return gain / sum(1 / math.log2(rank + 1) for rank in range(1, min(k, total) + 1))


def literal_average_precision(hits: list[bool], k: int, total: int) -> float:
    return sum(sum(hits[:rank]) / rank for rank in range(1, min(k, len(hits)) + 1) if hits[rank - 1]) / total


def literal_average_precision_capped(hits: list[bool], k: int, total: int) -> float:
    return literal_average_precision(hits, k, min(total, k))


def literal_reciprocal_rank(hits: list[bool], k: int, total: int) -> float:
    return next((1 / rank for rank, hit in enumerate(hits[:k], start=1) if hit), 0.0)


def literal_hit_rate(hits: list[bool], k: int, total: int) -> float:
    return float(any(hits[:k]))


Literal = Callable[[list[bool], int, int], float]
PAIRS = [
    (METRICS["Recall"], literal_recall),
    (METRICS["NDCG"], literal_ndcg),
    (METRICS["Precision"], literal_precision),
    (METRICS["MAP"], literal_average_precision),
    (METRICS["MRR"], literal_reciprocal_rank),
    (METRICS["HitRate"], literal_hit_rate),
    (average_precision_capped, literal_average_precision_capped),
]


def orders(scores: list[float]) -> Iterator[list[int]]:
    """Every order of the candidates that no pair of scores contradicts."""
    candidates = [item for item, score in enumerate(scores) if score > -math.inf]
    levels = sorted({scores[item] for item in candidates}, reverse=True)
    groups = [[item for item in candidates if scores[item] == level] for level in levels]
    for parts in itertools.product(*(itertools.permutations(group) for group in groups)):
        yield [item for part in parts for item in part]


@st.composite
def tied(draw: st.DrawFn) -> tuple[list[float], list[bool], int]:
    items = draw(st.integers(1, 6))
    levels = st.sampled_from([-math.inf, 0.0, 1.0])
    scores = draw(st.lists(levels, min_size=items, max_size=items))
    relevant = draw(st.lists(st.booleans(), min_size=items, max_size=items).filter(any))
    return scores, relevant, draw(st.integers(1, 8))


@settings(deadline=None, max_examples=150)
@given(tied())
def test_a_metric_is_its_mean_over_all_orders(case: tuple[list[float], list[bool], int]) -> None:
    scores, relevant, k = case
    ranked = RankedRelevance.of(torch.tensor([scores]), torch.tensor([relevant]), depth=8)
    lists = [[relevant[item] for item in order] for order in orders(scores)]
    for metric, literal in PAIRS:
        expected = sum(literal(hits, k, sum(relevant)) for hits in lists) / len(lists)
        assert metric(ranked, k).item() == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize(("size", "relevant", "taken"), [(7, 2, 3), (12, 5, 4), (40, 1, 20), (9, 9, 1)])
def test_the_hit_rate_of_a_tie_is_hypergeometric(size: int, relevant: int, taken: int) -> None:
    # A better, irrelevant item takes rank 1, so the cutoff leaves `taken` ranks for the tie.
    scores = torch.tensor([[1.0] + [0.0] * size])
    flags = torch.tensor([[False] + [True] * relevant + [False] * (size - relevant)])
    ranked = RankedRelevance.of(scores, flags, depth=taken + 1)
    expected = 1 - math.comb(size - relevant, taken) / math.comb(size, taken)
    assert METRICS["HitRate"](ranked, taken + 1).item() == pytest.approx(expected, rel=0, abs=1e-13)
