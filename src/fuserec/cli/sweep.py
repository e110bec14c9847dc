"""``fuserec sweep``: many recipes, several seeds, only what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fuserec.cli.evaluate import Part
from fuserec.cli.options import DEFAULT_METRICS, Data, Json, Markdown, Metrics, Quiet, Settings, Split

__all__ = ["command"]


def command(
    recipes: Annotated[
        list[str], typer.Argument(help="Recipe files, or names that `fuserec recipes` lists.")
    ],
    data: Data,
    results: Annotated[
        Path, typer.Option("--results", help="Folder of small JSON results; the ledger of test is beside it.")
    ],
    runs: Annotated[Path, typer.Option("--runs", help="Folder of the run folders.")],
    seeds: Annotated[int, typer.Option("--seeds", help="Seeds for each recipe that is trained.")] = 3,
    part: Annotated[Part, typer.Option("--part", help="test also reads the test part.")] = Part.VALID,
    split: Split = None,
    settings: Settings = None,
    metric: Metrics = None,
    reference: Annotated[
        str | None, typer.Option("--reference", metavar="LABEL", help="Compare with the recipe of that name.")
    ] = None,
    table: Annotated[bool, typer.Option("--table", help="Run nothing; show what is there.")] = False,
    background: Annotated[
        bool, typer.Option("--background", help="Start a process of its own for it, and return at once.")
    ] = False,
    quiet: Quiet = False,
    json: Json = False,
    markdown: Markdown = False,
) -> None:
    """Train and measure recipes with several seeds.

    Only what has no result yet is run, one training at a time, so a sweep that was stopped goes on where it
    was, in the middle of a training too. Every run leaves a small JSON under --results; reading the test part
    is noted in the ledger beside it. With --background the sweep outlives the terminal, and what it tells goes
    to a log file beside --runs.

    Example:
      fuserec sweep baby/lightgcn baby/tmfun --data data/baby --results results/baby --runs runs/baby
      fuserec sweep a.toml b.toml --data data/shop --results results/shop --runs runs --part test --reference a
      fuserec sweep baby/tmfun --seeds 5 --data data/baby --results results/baby --runs runs/baby --background
    """
    from fuserec.cli import terminal
    from fuserec.cli.background import start_sweep
    from fuserec.cli.interruption import resumable
    from fuserec.cli.systems import print_systems, tell_missing
    from fuserec.data.dataset import Dataset
    from fuserec.errors import ConfigError
    from fuserec.training.config import load_recipe
    from fuserec.training.recipes import find_recipe
    from fuserec.training.sweep import alone, missing, plan, run_job, summarise

    if background and table:
        raise ConfigError(
            "expected --background or --table, got both; --table runs nothing, so there is nothing to start"
        )
    overrides = [*(settings or []), *([] if split is None else [f"split={split}"])]
    dataset = Dataset.open(data)
    loaded = [load_recipe(find_recipe(recipe), overrides) for recipe in recipes]
    jobs = plan(loaded, seeds=seeds, prepare=dataset.prepare, runs=runs)
    metrics = metric or DEFAULT_METRICS
    todo = missing(jobs, results=results, part=part.value)
    if background and todo:
        with alone(results, runs):
            pass  # refused here rather than in the log
        same = {"data": data, "results": results, "runs": runs, "seeds": seeds, "part": part.value}
        same |= {"set": overrides, "metric": metrics, "reference": reference, "markdown": markdown}
        start_sweep(recipes, same, runs=runs, trainings=len(todo), json=json)
        return
    if table:
        tell_missing(todo, quiet=quiet or json)
    else:
        progress, place = terminal.progress(quiet=quiet or json), str(dataset.path.resolve())
        with resumable("the same command goes on from there"), alone(results, runs):
            for number, job in enumerate(todo, start=1):
                progress.note(f"[{number}/{len(todo)}] {job.recipe.name}, seed {job.recipe.seed}")
                run_job(job, results=results, part=part.value, dataset=place, progress=progress)
    systems = summarise(jobs, results=results, part=part.value, metrics=metrics, reference=reference)
    print_systems(systems, metrics, title=f"{data}, {part.value}", json=json, markdown=markdown)
