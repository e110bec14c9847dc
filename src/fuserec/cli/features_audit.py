"""``fuserec features audit``: what each modality of a dataset is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fuserec.cli.options import Json, Quiet

if TYPE_CHECKING:
    from fuserec.features.audit.report import Report

__all__ = ["command"]


def command(
    dataset: Annotated[Path, typer.Argument(help="A dataset folder; nothing in it changes.")],
    split: Annotated[
        str | None,
        typer.Option("--split", help="Whose training events count. Default: the run's, or the only one."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", help="A trained run: measure it without each modality, on validation."),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--page", metavar="FILE.html", help="Write a page of neighbours to look at."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="FOLDER", help="The items' pictures, to be shown on the page."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the shuffled controls.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that stands in the place of --page.")
    ] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Tell what each modality is worth: coverage, doubles, collapse, and whether neighbours share users.

    Lift is how many times more training users an item shares with its ten nearest others than with items as popular
    as these; the shuffled control must come out near 1. With --run each modality is left out, zeroed and shuffled in a
    trained run, without training again. Held-out events play no part, the test part is never read.

    Example:
      fuserec features audit shop
      fuserec features audit shop --page audit.html --images photos
      fuserec features audit shop --run runs/tmfun
    """
    if images is not None and page is None:
        raise typer.BadParameter("--images shows pictures on a page; give --page with it")
    from fuserec.cli import terminal
    from fuserec.data import Dataset
    from fuserec.features.audit.report import check_page, make_report
    from fuserec.files import write_text
    from fuserec.training.checkpoint import Run

    if page is not None:
        check_page(page, overwrite=overwrite)
    report = make_report(
        Dataset.open(dataset),
        split,
        run=None if run is None else Run.open(run),
        seed=seed,
        progress=terminal.progress(quiet=quiet or json),
    )
    if page is not None:
        write_text(page, report.page(images))
    if json:
        terminal.print_json(report.as_json())
    else:
        _print(report)


def _print(report: Report) -> None:
    """The figures, the doubles, and what a run draws from each modality."""
    from fuserec.cli import terminal
    from fuserec.features.audit import words

    terminal.print_table(words.HEADER, words.rows(report.audits), title=report.title)
    for line in words.twin_lines(report.dataset, report.audits):
        typer.echo(line)
    worth = report.worth
    if worth is not None:
        lines = words.worth_rows(worth.found, worth.metrics)
        terminal.print_table(words.worth_header(worth.metrics), lines, title=worth.title)
