from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuserec.errors import ConfigError, ProtocolError
from fuserec.training import statistics
from fuserec.training.evaluate import Evaluation
from fuserec.training.evaluation_protocol import EvaluationProtocol
from fuserec.training.statistics import average_runs, compare, paired_bootstrap

PROTOCOL = EvaluationProtocol(name="standard", split_hash="s", part="test", mask="train+valid")


def evaluation(values: list[float], **changes: object) -> Evaluation:
    tensor = torch.tensor(values, dtype=torch.float64)
    whole = Evaluation(protocol=PROTOCOL, users=torch.arange(len(values)), values={"Recall@20": tensor})
    return dataclasses.replace(whole, **changes)  # type: ignore[arg-type]


def sparse(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(count, generator=generator, dtype=torch.float64)
    return values * (torch.rand(count, generator=generator) < 0.2)


def test_verdicts_by_hand() -> None:
    ones, zeros = torch.ones(50, dtype=torch.float64), torch.zeros(50, dtype=torch.float64)
    ahead = paired_bootstrap(ones, zeros)
    assert (ahead.difference, ahead.low, ahead.high, ahead.verdict) == (1.0, 1.0, 1.0, "ahead")
    assert paired_bootstrap(zeros, ones).verdict == "behind"
    one_user = zeros.clone()
    one_user[0] = 1.0
    level = paired_bootstrap(one_user, zeros)
    assert (level.low, level.verdict, level.users) == (0.0, "level", 50)
    assert level.difference == pytest.approx(1 / 50)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(0, 100))
def test_identical_values_are_level_with_a_difference_of_zero(values: list[float], seed: int) -> None:
    a = torch.tensor(values, dtype=torch.float64)
    result = paired_bootstrap(a, a.clone(), samples=50, seed=seed)
    assert (result.difference, result.low, result.high, result.verdict) == (0.0, 0.0, 0.0, "level")


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 300), st.integers(0, 1000))
def test_exchanging_the_systems_mirrors_the_interval(count: int, seed: int) -> None:
    a, b = sparse(count, seed), sparse(count, seed + 1)
    forth, back = paired_bootstrap(a, b, samples=200, seed=7), paired_bootstrap(b, a, samples=200, seed=7)
    assert forth.difference == -back.difference
    assert forth.low == pytest.approx(-back.high, abs=1e-12)
    assert forth.high == pytest.approx(-back.low, abs=1e-12)
    opposite = {"ahead": "behind", "behind": "ahead", "level": "level"}
    assert back.verdict == opposite[forth.verdict]


def test_the_same_seed_gives_the_same_interval_and_memory_does_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, b = sparse(500, 0), sparse(500, 1)
    first = paired_bootstrap(a, b, samples=300, seed=3)
    assert paired_bootstrap(a, b, samples=300, seed=3) == first
    assert paired_bootstrap(a, b, samples=300, seed=4) != first
    monkeypatch.setattr(statistics, "DRAWS_IN_MEMORY", 1000)
    assert paired_bootstrap(a, b, samples=300, seed=3) == first


def test_leaving_out_users_without_a_difference_keeps_the_distribution() -> None:
    a, b = sparse(400, 0), sparse(400, 1)
    difference = (a - b).numpy()
    generator = np.random.default_rng(0)
    plain = difference[generator.integers(0, 400, size=(20_000, 400))].mean(1)
    result = paired_bootstrap(a, b, samples=20_000, seed=1)
    spread = difference.std() / np.sqrt(400)
    low, high = np.quantile(plain, [0.025, 0.975])
    assert result.low == pytest.approx(low, abs=0.1 * spread)
    assert result.high == pytest.approx(high, abs=0.1 * spread)
    # And both are what the normal approximation says, since 400 users are many.
    assert result.high - result.low == pytest.approx(2 * 1.96 * spread, rel=0.05)


def test_the_interval_holds_the_truth_as_often_as_it_claims() -> None:
    # Differences are +1, -1 and 0 with means of .1: 300 experiments, each with 200 users.
    generator = torch.Generator().manual_seed(11)
    covered = 0
    for seed in range(300):
        draw = torch.rand(200, generator=generator)
        a, b = (draw < 0.2).double(), ((draw >= 0.2) & (draw < 0.3)).double()
        result = paired_bootstrap(a, b, samples=400, seed=seed)
        covered += result.low <= 0.1 <= result.high
    # 95 % of 300 is 285, with a standard error of 4.
    assert 271 <= covered <= 299


def test_a_larger_confidence_gives_a_wider_interval() -> None:
    a, b = sparse(300, 0), sparse(300, 1)
    narrow, wide = (paired_bootstrap(a, b, samples=500, confidence=level) for level in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_values_that_cannot_be_compared_are_refused() -> None:
    ones = torch.ones(3, dtype=torch.float64)
    with pytest.raises(ConfigError, match="expected two values for each of at least one user, got 3 and 2"):
        paired_bootstrap(ones, ones[:2])
    with pytest.raises(ConfigError, match="expected two values for each of at least one user, got 0 and 0"):
        paired_bootstrap(ones[:0], ones[:0])
    with pytest.raises(ConfigError, match=r"a confidence between 0 and 1, got 100 and 95\.0"):
        paired_bootstrap(ones, ones, samples=100, confidence=95.0)
    with pytest.raises(ConfigError, match="expected finite values of every user"):
        paired_bootstrap(ones, ones * torch.nan)


def test_runs_are_averaged_user_by_user() -> None:
    average = average_runs([evaluation([0.0, 1.0, 0.5]), evaluation([1.0, 1.0, 0.0])])
    assert average.values["Recall@20"].tolist() == [0.5, 1.0, 0.25]
    assert average.protocol == PROTOCOL


def test_runs_measured_otherwise_are_not_averaged() -> None:
    run = evaluation([0.0, 1.0])
    other = dataclasses.replace(PROTOCOL, ties="order")
    with pytest.raises(ProtocolError, match="differ in ties 'expectation' and 'order'"):
        average_runs([run, evaluation([0.0, 1.0], protocol=other)])
    with pytest.raises(
        ProtocolError, match="expected values of the same users, got 2 and 2 users that differ"
    ):
        average_runs([run, evaluation([0.0, 1.0], users=torch.tensor([0, 5]))])
    with pytest.raises(ConfigError, match="expected runs with the same metrics"):
        average_runs([run, dataclasses.replace(run, values={"MRR@5": run.values["Recall@20"]})])
    with pytest.raises(ConfigError, match="expected at least one run to average, got none"):
        average_runs([])


def test_two_evaluations_compare_by_a_metric_of_one_protocol() -> None:
    better, worse = evaluation([1.0] * 30), evaluation([0.0] * 30)
    assert compare(better, worse, "Recall@20").verdict == "ahead"
    with pytest.raises(ConfigError, match="expected a metric that was measured, got 'Recall@2'"):
        compare(better, worse, "Recall@2")
    other = dataclasses.replace(PROTOCOL, split_hash="other")
    with pytest.raises(ProtocolError, match="differ in split_hash 's' and 'other'"):
        compare(better, evaluation([0.0] * 30, protocol=other), "Recall@20")
