"""Many recipes, several seeds: run what is missing, one at a time, and keep what each run measured.

What counts as done is what stands in the results (`fuserec.training.results`), by recipe hash and seed. So a
sweep that was stopped goes on where it was, on this machine or on another that has the results.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuserec.batch import Prepared
from fuserec.errors import ConfigError, DataError, ProtocolError, nearest
from fuserec.training.checkpoint import Run
from fuserec.training.compare import System, compare_systems, spread
from fuserec.training.config import Recipe
from fuserec.training.evaluate import Evaluation
from fuserec.training.evaluation_protocol import EvaluationProtocol, Part
from fuserec.training.lock import exclusive
from fuserec.training.place import state_of
from fuserec.training.progress import Progress, Silent
from fuserec.training.results import append_to_ledger, find_result, write_result
from fuserec.training.run import evaluate_run, train

__all__ = ["Job", "alone", "missing", "note_reading", "plan", "run_job", "summarise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One recipe with one seed.

    Attributes:
        recipe: with its seed, and the split written out.
        prepared: the dataset under that split.
        folder: where its run folder stands, or shall stand.
    """

    recipe: Recipe
    prepared: Prepared
    folder: Path


def plan(
    recipes: Iterable[Recipe], *, seeds: int, prepare: Callable[[str | None], Prepared], runs: Path
) -> list[Job]:
    """All jobs of a sweep, recipe by recipe.

    A recipe that is not trained by gradient draws nothing at random, so it gets one seed.

    Args:
        recipes: the first seed of each is its own; the others follow it.
        seeds: how many.
        prepare: gives the dataset under a split.
        runs: folder of the run folders.

    Raises:
        ConfigError: ``seeds`` is below 1, or a recipe comes twice.
    """
    if seeds < 1:
        raise ConfigError(f"expected at least one seed, got {seeds}")
    splits: dict[str | None, Prepared] = {}
    jobs: dict[tuple[str, int], Job] = {}
    for recipe in recipes:
        if recipe.split not in splits:
            splits[recipe.split] = prepare(recipe.split)
        prepared = splits[recipe.split]
        for seed in range(recipe.seed, recipe.seed + (seeds if recipe.train else 1)):
            one = dataclasses.replace(recipe, seed=seed, split=prepared.split)
            if (one.hash, seed) in jobs:
                raise ConfigError(
                    f"expected different recipes, got {one.name!r} twice, maybe under two labels"
                )
            folder = runs / f"{one.name}-{one.hash[:12]}-{seed}"
            jobs[one.hash, seed] = Job(recipe=one, prepared=prepared, folder=folder)
    return list(jobs.values())


def missing(jobs: Iterable[Job], *, results: Path, part: Part) -> list[Job]:
    """The jobs whose result is not there, or lacks the part."""
    return [job for job in jobs if part not in (_found(job, results) or {}).get("evaluations", {})]


@contextmanager
def alone(*folders: Path) -> Iterator[None]:
    """Hold the folders of a sweep, which are made if missing, so that no second one does the same work.

    Raises:
        ConfigError: another sweep works in one of them; its process is named.
        DataError: a folder cannot be written.
    """
    with ExitStack() as held:
        for folder in sorted({Path(folder).resolve() for folder in folders}):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(exclusive(folder / ".sweep.lock", task=f"sweep into {folder}"))
            except OSError as error:
                raise DataError(f"cannot write in {folder}: {error.strerror or error}") from error
        yield


def run_job(
    job: Job, *, results: Path, part: Part, dataset: str | None = None, progress: Progress | None = None
) -> None:
    """Train where there is no run folder yet, from where that was interrupted, measure, and write the result.

    Args:
        job: what to do.
        results: folder of the experiment's results, such as ``results/baby``; the ledger is beside it.
        part: ``valid`` measures that part only, ``test`` reads the test part too and notes it.
        dataset: the dataset's folder, kept in the run.
        progress: who watches.

    Raises:
        FuserecError: of any kind that `train`, `evaluate_run` and `write_result` raise.
    """
    progress = progress or Silent()
    if job.folder.exists():
        run = _same(Run.open(job.folder), job)
    else:
        resume = state_of(job.folder).exists()
        run = train(job.recipe, job.prepared, job.folder, resume=resume, progress=progress, dataset=dataset)
    evaluations = {"valid": run.evaluation("valid")}
    begun = time.perf_counter()
    if part == "test":
        evaluations["test"] = evaluate_run(run, job.prepared, part="test", progress=progress)
        note_reading(results, run, evaluations["test"])
    times = _times(run, time.perf_counter() - begun if part == "test" else None)
    write_result(
        results.parent,
        results.name,
        run.recipe,
        provenance=run.provenance,
        evaluations=evaluations,
        times=times,
        overwrite=True,
        headline=_headline(run.recipe, evaluations["valid"]),
    )


def note_reading(results: Path, run: Run, evaluation: Evaluation, *, note: str | None = None) -> None:
    """Note in the ledger beside an experiment's results that a run read the test part.

    Raises:
        ConfigError: the evaluation is not of the test part.
        DataError: the line cannot be written.
    """
    append_to_ledger(
        results.parent,
        evaluation,
        commit=run.provenance["commit"],
        recipe_hash=run.recipe.hash,
        seed=run.recipe.seed,
        note=note,
    )


def summarise(
    jobs: Sequence[Job], *, results: Path, part: Part, metrics: Sequence[str], reference: str | None = None
) -> list[System]:
    """What has been measured so far: one system for every recipe that has a result.

    Means and spreads come from the results. Comparisons with the reference need values of every user, so
    they are made only for recipes whose run folders are all here.

    Args:
        jobs: of the sweep.
        results: folder of the experiment's results.
        part: which evaluation.
        metrics: such as ``"Recall@20"``.
        reference: label of the recipe that the others are compared with.

    Raises:
        ConfigError: no recipe is labelled ``reference``, or a metric was not measured.
        ProtocolError: runs were measured in different ways.
    """
    groups: dict[str, list[tuple[Job, dict[str, Any]]]] = {}
    for job in jobs:
        found = _found(job, results)
        if found is not None and part in found["evaluations"]:
            groups.setdefault(job.recipe.hash, []).append((job, found))
    for group in groups.values():
        _require_one_protocol(group, part)
    systems = [_system(group, part, metrics) for group in groups.values()]
    if reference is None:
        return systems
    names = [system.name for system in systems]
    if reference not in names:
        raise ConfigError(
            f"expected the label of a recipe with results, got {reference!r}; {nearest(reference, names)}"
        )
    base = groups[systems[names.index(reference)].recipe_hash]
    for group in groups.values():
        _require_one_protocol([*base, *group], part)
    return [
        system
        if system.name == reference
        else _compared(system, base, groups[system.recipe_hash], part=part, metrics=metrics)
        for system in systems
    ]


def _found(job: Job, results: Path) -> dict[str, Any] | None:
    return find_result(
        results.parent,
        results.name,
        job.recipe,
        dataset_hash=job.prepared.dataset_hash,
        split_hash=job.prepared.split_hash,
    )


def _require_one_protocol(group: list[tuple[Job, dict[str, Any]]], part: Part) -> None:
    """Refuse numbers that were measured in different ways, also where no values of users are at hand."""
    first, *others = (found["evaluations"][part] for _, found in group)
    for other in others:
        EvaluationProtocol.from_dict(first["protocol"]).require(
            EvaluationProtocol.from_dict(other["protocol"])
        )
        if first["protocol_hash"] != other["protocol_hash"]:
            raise ProtocolError(
                f"expected numbers of one protocol, got {first['protocol_hash'][:12]} and "
                f"{other['protocol_hash'][:12]}, of the same words in two versions of fuserec; evaluate both again"
            )


def _same(run: Run, job: Job) -> Run:
    """The run, if it is the job's and not that of another dataset in the same place."""
    theirs = run.recipe.hash, run.provenance["split_hash"], run.provenance["dataset_hash"]
    if theirs != (job.recipe.hash, job.prepared.split_hash, job.prepared.dataset_hash):
        raise ConfigError(
            f"expected the run of {job.recipe.name!r} on this data in {run.path}, got another; move it"
        )
    return run


def _times(run: Run, evaluation_seconds: float | None) -> dict[str, float]:
    times = {"fit_seconds": float(run.provenance["fit_seconds"])}
    if evaluation_seconds is not None:
        times["evaluation_seconds"] = evaluation_seconds
    if run.log:
        times["epochs"] = len(run.log)
        times["epoch_seconds"] = statistics.median(record["train_seconds"] for record in run.log)
    return times


def _headline(recipe: Recipe, evaluation: Evaluation) -> str:
    """The metric that training watched; for a closed form Recall@20, or the first where that was not measured."""
    if recipe.train is not None:
        return recipe.train.monitor
    return "Recall@20" if "Recall@20" in evaluation.values else next(iter(evaluation.values))


def _system(group: list[tuple[Job, dict[str, Any]]], part: Part, metrics: Sequence[str]) -> System:
    measured = [found["evaluations"][part]["metrics"] for _, found in group]
    for name in metrics:
        if name not in measured[0]:
            raise ConfigError(
                f"expected a metric that was measured, got {name!r}; {nearest(name, measured[0])}"
            )
    recipe = group[0][0].recipe
    return System(
        name=recipe.name,
        recipe_hash=recipe.hash,
        seeds=tuple(job.recipe.seed for job, _ in group),
        metrics={name: spread([means[name] for means in measured]) for name in metrics},
        fit_seconds=statistics.mean(found["times"]["fit_seconds"] for _, found in group),
    )


def _compared(
    system: System,
    base: list[tuple[Job, dict[str, Any]]],
    group: list[tuple[Job, dict[str, Any]]],
    *,
    part: Part,
    metrics: Sequence[str],
) -> System:
    folders = [job.folder for job, _ in [*base, *group]]
    if not all((folder / "values" / f"{part}.npz").exists() for folder in folders):
        return system
    compared = compare_systems((Run.open(folder) for folder in folders), part, metrics)[1]
    return dataclasses.replace(system, metrics=compared.metrics)
