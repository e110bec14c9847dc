"""``fuserec fold-in``: how well users are served who were not there at training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fuserec.cli.evaluate import Part
from fuserec.cli.options import DEFAULT_METRICS, Json, Metrics, MovedData, Quiet, RunFolder

if TYPE_CHECKING:
    from fuserec.training.fold_in import FoldIn

__all__ = ["command"]


def command(
    run: RunFolder,
    data: MovedData = None,
    share: Annotated[float, typer.Option("--share", help="Share of the users to leave out.")] = 0.1,
    draw: Annotated[int, typer.Option("--draw", help="Seed of the draw of these users.")] = 0,
    part: Annotated[Part, typer.Option("--part", help="What is held out.")] = Part.VALID,
    metric: Metrics = None,
    results: Annotated[
        Path | None,
        typer.Option("--results", help="Keep the outcome there, and note readings of test beside it."),
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure what new users lose.

    Trains the recipe of a run again without a share of the users, then serves these by their histories alone. Three
    rows: trained (the run as it is), folded (the same run, told only their histories), new (never seen in training).

    Example:
      fuserec fold-in runs/tmfun
      fuserec fold-in runs/tmfun --share 0.2 --part test --results results/shop
    """
    from fuserec.cli import terminal
    from fuserec.data.dataset import Dataset
    from fuserec.index.build import dataset_of
    from fuserec.training.checkpoint import Run
    from fuserec.training.fold_in import measure_fold_in, new_fold_in, store_fold_in
    from fuserec.training.run import require_same_data

    opened = Run.open(run)
    prepared = (dataset_of(opened) if data is None else Dataset.open(data)).prepare(opened.recipe.split)
    require_same_data(opened, prepared)
    if results is not None:
        new_fold_in(results, opened)
    if part is Part.TEST:
        terminal.note("reading the test part: choose nothing by what it says")
    measured = measure_fold_in(
        opened.recipe,
        prepared,
        trained=opened.scorer(),
        share=share,
        seed=draw,
        part=part.value,
        progress=terminal.progress(quiet=quiet or json),
    )
    metrics = metric or DEFAULT_METRICS
    if results is not None:
        store_fold_in(results, opened, measured, metrics=metrics)
    if json:
        terminal.print_json({"run": str(run), **measured.summary(metrics)})
        return
    _print(measured, metrics, title=f"{opened.recipe.name}, {part.value}")


def _print(measured: FoldIn, metrics: list[str], *, title: str) -> None:
    """A row for each way of being served."""
    from fuserec.cli import terminal

    differences = {metric: measured.losses(metric) for metric in metrics}
    rows = []
    for name, evaluation in measured.evaluations.items():
        means, cells = evaluation.means(), [name]
        for metric in metrics:
            lost = differences[metric].get(name)
            told = "" if lost is None else f"{lost.difference:+.4f} [{lost.low:+.4f}, {lost.high:+.4f}]"
            cells += [f"{means[metric]:.4f}", told]
        rows.append(cells)
    header = ["served as", *(cell for metric in metrics for cell in (metric, "against trained"))]
    users = len(measured.evaluations["trained"].users)
    terminal.print_table(header, rows, title=f"{title}, {users} users left out")
