"""Runs against each other: several seeds of a recipe are one system, and the first system is the reference."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from fuserec.errors import ConfigError
from fuserec.shapes import Int
from fuserec.training.checkpoint import Run
from fuserec.training.evaluate import Evaluation
from fuserec.training.statistics import Comparison, average_runs, compare

__all__ = ["Spread", "System", "compare_systems", "group_runs", "of_users", "spread"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One metric of one system over its seeds.

    Attributes:
        mean: over seeds.
        deviation: standard deviation over seeds (n - 1 below the line); None of a single seed.
        comparison: with the reference, paired by user; None for the reference itself, or where values of
            users are missing.
    """

    mean: float
    deviation: float | None
    comparison: Comparison | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A recipe with all its seeds.

    Attributes:
        name: the recipe's label.
        recipe_hash: names the recipe.
        seeds: ascending.
        metrics: by name, such as ``"Recall@20"``.
        fit_seconds: mean over seeds; None where it is not known.
    """

    name: str
    recipe_hash: str
    seeds: tuple[int, ...]
    metrics: Mapping[str, Spread] = field(default_factory=dict)
    fit_seconds: float | None = None


def group_runs(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Runs by recipe hash, groups in the order of their first run, each ascending by seed.

    Raises:
        ConfigError: a recipe is there twice with one seed, which would count it twice.
    """
    groups: dict[str, dict[int, Run]] = {}
    for run in runs:
        seeds = groups.setdefault(run.recipe.hash, {})
        if run.recipe.seed in seeds:
            raise ConfigError(
                f"expected each recipe once with a seed, got {seeds[run.recipe.seed].path} and {run.path} "
                f"with seed {run.recipe.seed}; leave one out"
            )
        seeds[run.recipe.seed] = run
    return {key: [seeds[seed] for seed in sorted(seeds)] for key, seeds in groups.items()}


def compare_systems(
    runs: Iterable[Run],
    evaluation: str,
    metrics: Sequence[str],
    *,
    users: Int[Tensor, " N"] | None = None,
) -> list[System]:
    """Group runs by recipe and compare every system with the first one.

    Args:
        runs: finished runs; the recipe of the first is the reference.
        evaluation: ``valid``, ``test``, ``test-mmrec``, ...
        metrics: such as ``"Recall@20"``.
        users: (N,) rows of users; all others are left out of every number. None leaves out nobody.

    Raises:
        ProtocolError: the runs were not measured in the same way on the same users.
        CheckpointError: a run lacks the evaluation.
        ConfigError: a metric was not measured, a seed is there twice, or none of the users was measured.
    """
    systems: list[System] = []
    reference: Evaluation | None = None
    for recipe_hash, members in group_runs(runs).items():
        evaluations = [run.evaluation(evaluation) for run in members]
        if users is not None:
            evaluations = [of_users(one, users) for one in evaluations]
        average = average_runs(evaluations)
        comparisons = {name: compare(average, reference or average, name) for name in metrics}
        systems.append(
            System(
                name=members[0].recipe.name,
                recipe_hash=recipe_hash,
                seeds=tuple(run.recipe.seed for run in members),
                metrics={
                    name: spread(
                        [one.values[name].mean().item() for one in evaluations],
                        comparisons[name] if reference else None,
                    )
                    for name in metrics
                },
                fit_seconds=statistics.mean(run.provenance["fit_seconds"] for run in members),
            )
        )
        reference = reference or average
    return systems


def of_users(evaluation: Evaluation, users: Int[Tensor, " N"]) -> Evaluation:
    """What was measured of some users; those without held-out items were not measured.

    Args:
        evaluation: of any users.
        users: (N,) rows, in any order.

    Raises:
        ConfigError: none of them was measured.
    """
    kept = torch.isin(evaluation.users, users)
    if not kept.any():
        raise ConfigError(
            f"expected users with held-out items, got {len(users)} without any; give others, or another part"
        )
    return replace(
        evaluation,
        users=evaluation.users[kept],
        values={name: values[kept] for name, values in evaluation.values.items()},
    )


def spread(values: Sequence[float], comparison: Comparison | None = None) -> Spread:
    """Mean and standard deviation of a metric over seeds."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(mean=statistics.mean(values), deviation=deviation, comparison=comparison)
