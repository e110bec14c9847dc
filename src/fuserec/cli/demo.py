"""``fuserec demo``: the whole way on a corpus that the program makes itself, ending in a page of pictures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from fuserec.cli.options import DEFAULT_METRICS, Overwrite, Quiet

__all__ = ["command"]


def command(
    out: Annotated[Path, typer.Option("--out", help="The folder to make.")] = Path("demo"),
    users: Annotated[int, typer.Option("--users", help="Readers of the invented shop.")] = 2000,
    items: Annotated[int, typer.Option("--items", help="Books of the invented shop.")] = 1200,
    seed: Annotated[int, typer.Option("--seed", help="Of the shop and of training.")] = 7,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="At most so many for each model.")
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Invent a shop, train on it, show what readers get.

    The shop is synthetic: books, covers, readers. Three models learn from it and are measured. Takes a few minutes on two cores and ends with a page, report.html, for your browser.

    Example:
      fuserec demo
      fuserec demo --out /tmp/demo --overwrite
    """
    from fuserec.cli import terminal
    from fuserec.cli.systems import print_systems
    from fuserec.data.sample.world import SampleOptions
    from fuserec.demo.run import run_demo
    from fuserec.training.compare import compare_systems

    begun = time.monotonic()
    runs = run_demo(
        out,
        SampleOptions(num_users=users, num_items=items, seed=seed),
        epochs=epochs,
        overwrite=overwrite,
        progress=terminal.progress(quiet=quiet),
    )
    systems = compare_systems(runs, "test", DEFAULT_METRICS)
    print_systems(systems, DEFAULT_METRICS, title="test part of synthetic data, against popularity")
    minutes = (time.monotonic() - begun) / 60
    typer.echo(f"done in {minutes:.1f} minutes; open {(out / 'report.html').resolve()}")
