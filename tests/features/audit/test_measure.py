from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from fuserec.batch import Corpus, KnnGraph, Modality, Pairs
from fuserec.errors import ConfigError, DataError
from fuserec.features.audit import Audit, audit
from fuserec.features.audit.lift import Lift, Listing, lifts
from fuserec.features.audit.spread import Spread
from fuserec.testing.corpora import NUM_GROUPS, tiny_corpus


def large(**options: Any) -> Corpus:
    return tiny_corpus(**{"num_users": 300, "num_items": 120, "events_per_user": 12, **options})


def with_features(corpus: Corpus, features: torch.Tensor) -> Corpus:
    modality = Modality(name="text", present=features.any(1), features=features)
    return replace(corpus, modalities=(modality,))


def test_content_that_knows_the_planted_groups_is_fine_and_its_control_is_near_one() -> None:
    for found in audit(large()):
        assert found.verdict == "fine"
        assert found.lift.lift is not None
        assert found.shuffled.lift is not None
        assert found.lift.lift > 1.5
        assert abs(found.shuffled.lift - 1) < 0.1
        assert found.shuffled.pairs == found.lift.pairs


def test_noise_is_no_better_than_chance() -> None:
    corpus = large()
    noise = torch.randn(120, 16, generator=torch.Generator().manual_seed(4))
    (found,) = audit(with_features(corpus, noise))
    assert found.verdict == "no better than chance"


def test_features_without_a_spread_are_collapsed_whatever_their_neighbours_share() -> None:
    corpus = large()
    group = torch.arange(120) % NUM_GROUPS
    rows = torch.full((120, 8), 40.0)
    rows[torch.arange(120), group] += 1.0
    (found,) = audit(with_features(corpus, rows))
    assert found.spread is not None
    assert found.spread.mean_cosine > 0.999
    assert found.verdict == "collapsed"
    assert found.lift.lift is not None
    assert found.lift.lift > 1.5
    assert found.twins is not None
    assert found.twins.pairs == 120 * 119 // 2


@pytest.mark.parametrize(
    ("shared", "error", "verdict"),
    [
        (1.21, 0.01, "fine"),
        (1.19, 0.01, "weak"),
        (1.06, 0.01, "weak"),
        (1.04, 0.001, "no better than chance"),
        (1.9, 0.5, "no better than chance"),
        (0.5, 0.01, "no better than chance"),
    ],
)
def test_the_verdicts_follow_their_thresholds(shared: float, error: float, verdict: str) -> None:
    assert judged(Lift(pairs=9, shared=shared, chance=1.0, error=error)).verdict == verdict


def judged(lift: Lift) -> Audit:
    graph = KnnGraph(neighbours=torch.zeros(0, 1, dtype=torch.int64), weights=torch.zeros(0, 1))
    return Audit(
        name="text",
        kind="features",
        items=1,
        of_items=1,
        events=1,
        of_events=1,
        lift=lift,
        shuffled=lift,
        spread=Spread(width=2, constant=0, mean_cosine=0.0, directions=2.0),
        twins=None,
        graph=graph,
    )


def test_where_nobody_shares_anything_it_cannot_tell() -> None:
    users = torch.arange(12)
    corpus = Corpus(num_users=12, num_items=12, train=Pairs(users=users, items=users))
    (found,) = audit(with_features(corpus, torch.randn(12, 4, generator=torch.Generator().manual_seed(0))))
    assert (found.verdict, found.lift.lift, found.lift.error) == ("cannot tell", None, math.inf)
    json.dumps(found.as_json(), allow_nan=False)


def test_a_modality_with_a_graph_alone_is_judged_by_its_neighbours() -> None:
    corpus = large(modalities=("text",), ready_graph=("genre", "text"))
    text, genre = audit(corpus)
    assert (text.kind, genre.kind) == ("features", "graph")
    assert (genre.spread, genre.twins) == (None, None)
    assert genre.verdict == "fine"
    ready = corpus.modalities[1].graph
    assert ready is not None
    own = ready.neighbours == torch.arange(120)[:, None]
    absent = ~corpus.modalities[1].present[ready.neighbours.clamp_min(0)]
    assert genre.lift.pairs == int(((ready.neighbours >= 0) & ~own & ~absent).sum())


def test_coverage_counts_items_and_the_training_events_on_them() -> None:
    corpus = tiny_corpus(missing=0.4)
    for found, modality in zip(audit(corpus), corpus.modalities, strict=True):
        assert (found.items, found.of_items) == (int(modality.present.sum()), 30)
        assert found.events == int(modality.present[corpus.train.items].sum())
        assert found.of_events == len(corpus.train)


def test_a_row_of_zeros_counts_as_missing() -> None:
    corpus = tiny_corpus(missing=0.0)
    features = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    features[3] = 0
    everything = torch.ones(30, dtype=torch.bool)
    modality = Modality(name="text", present=everything, features=features)
    (found,) = audit(replace(corpus, modalities=(modality,)))
    assert found.items == 29
    assert bool((found.graph.neighbours[3] == -1).all())


def test_the_same_seed_says_the_same_and_another_moves_the_control() -> None:
    corpus = large()
    first, again, other = ([one.as_json() for one in audit(corpus, seed=seed)] for seed in (1, 1, 2))
    assert first == again
    assert first[0]["shuffled"] != other[0]["shuffled"]


def test_neighbours_dealt_anew_are_among_the_items_that_have_the_modality_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Listing] = []

    def watched(corpus: Corpus, listings: list[Listing], *, seed: int) -> list[Lift]:
        seen.extend(listings)
        return lifts(corpus, listings, seed=seed)

    monkeypatch.setattr("fuserec.features.audit.measure.lifts", watched)
    corpus = large()
    features = torch.randn(120, 16, generator=torch.Generator().manual_seed(4))
    features[::2] = 0
    audit(with_features(corpus, features))
    own, dealt = seen
    for one in (own, dealt):
        there = one.neighbours >= 0
        assert bool(one.present[one.neighbours[there]].all())
        assert torch.equal(there.any(1), one.present)
    assert not torch.equal(own.present, dealt.present)


def test_few_items_and_items_without_content_do_no_harm() -> None:
    pairs = Pairs(users=torch.tensor([0]), items=torch.tensor([0]))
    for count in (1, 2, 3):
        corpus = Corpus(num_users=1, num_items=count, train=pairs)
        (found,) = audit(with_features(corpus, torch.eye(count, 4)))
        assert found.items == count
    (found,) = audit(with_features(corpus, torch.zeros(3, 4)))
    assert (found.items, found.events, found.verdict) == (0, 0, "collapsed")


def test_nothing_to_look_at_is_refused() -> None:
    with pytest.raises(DataError, match="expected a dataset with features or graphs to look at, got none"):
        audit(tiny_corpus(modalities=()))
    nobody = Pairs(users=torch.zeros(0, dtype=torch.int64), items=torch.zeros(0, dtype=torch.int64))
    with pytest.raises(DataError, match="expected a split with training events, got none"):
        audit(replace(tiny_corpus(), train=nobody))
    with pytest.raises(ConfigError, match="seed must be at least 0, got -1"):
        audit(tiny_corpus(), seed=-1)
