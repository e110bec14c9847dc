"""``fuserec evaluate``: measure a run exactly."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from fuserec.cli.options import Json, MovedData, Quiet, RunFolder

__all__ = ["Compatibility", "Part", "command", "print_metrics"]


class Part(StrEnum):
    """A held-out part of a split."""

    VALID = "valid"
    TEST = "test"


class Compatibility(StrEnum):
    """Whose habits of measuring are imitated."""

    MMREC = "mmrec"
    LATTICE = "lattice"


def command(
    run: RunFolder,
    data: MovedData = None,
    part: Annotated[Part, typer.Option("--part", help="What is held out.")] = Part.VALID,
    compatibility: Annotated[
        Compatibility | None,
        typer.Option("--compatibility", help="Measure as that code does; for published tables only."),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option("--results", help="Note the reading of test in the ledger beside this folder."),
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure a run exactly, on validation or on test.

    The whole catalogue is ranked for every user; ties count by their expectation. Settings are chosen on the validation part. Read the test part once, when everything is chosen; with
    --results results/NAME that reading is noted in results/test-ledger.jsonl. What the run's model told of its stages
    of training is shown below.

    Example:
      fuserec evaluate runs/tmfun
      fuserec evaluate runs/tmfun --part test --results results/shop
    """
    if results is not None and part is not Part.TEST:
        raise typer.BadParameter("--results notes readings of the test part; give --part test with it")
    from fuserec.cli import terminal
    from fuserec.data.dataset import Dataset
    from fuserec.index.build import dataset_of
    from fuserec.training.checkpoint import Run
    from fuserec.training.run import evaluate_run
    from fuserec.training.sweep import note_reading

    opened = Run.open(run)
    dataset = dataset_of(opened) if data is None else Dataset.open(data)
    if part is Part.TEST and not json:
        terminal.note("reading the test part: choose nothing by what it says")
    evaluation = evaluate_run(
        opened,
        dataset.prepare(opened.recipe.split),
        part=part.value,
        compatibility=compatibility.value if compatibility else None,
        progress=terminal.progress(quiet=quiet or json),
    )
    if results is not None:
        note_reading(results, opened, evaluation)
    name = part.value + (f"-{compatibility.value}" if compatibility else "")
    if json:
        told = {"diagnostics": opened.diagnostics} if opened.diagnostics else {}
        terminal.print_json({"run": str(run), "evaluation": name, **opened.metrics[name], **told})
    else:
        print_metrics(
            evaluation.means(), title=f"{opened.recipe.name}, {name}, {len(evaluation.users)} users"
        )
        for epoch, values in opened.diagnostics.items():
            rows = [[diagnostic, f"{value:.4f}"] for diagnostic, value in values.items()]
            terminal.print_table(["diagnostic", "value"], rows, title=f"after epoch {epoch}")


def print_metrics(means: dict[str, float], *, title: str) -> None:
    """Metrics down, cutoffs across."""
    from fuserec.cli import terminal

    table: dict[str, dict[int, float]] = {}
    for name, value in means.items():
        metric, _, cutoff = name.partition("@")
        table.setdefault(metric, {})[int(cutoff)] = value
    cutoffs = sorted({cutoff for row in table.values() for cutoff in row})
    rows: list[list[Any]] = [
        [metric, *(f"{row[k]:.4f}" if k in row else "" for k in cutoffs)] for metric, row in table.items()
    ]
    terminal.print_table(["metric", *(f"@{k}" for k in cutoffs)], rows, title=title)
