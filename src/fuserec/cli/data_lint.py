"""``fuserec data lint``: what held-out events leak into training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["command"]


def command(
    dataset: Annotated[Path, typer.Argument(help="A dataset folder.")],
    json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Look for leaks from held-out events into training.

    Compares times, pairs, features and graphs of every split. Exits with 1 if there is a leak, with 0 if there are notes at most.

    Example:
      fuserec data lint shop
    """
    from fuserec.cli import terminal
    from fuserec.data import Dataset
    from fuserec.data.lint import lint

    found = lint(Dataset.open(dataset))
    leaks = [one for one in found if one.severity == "leak"]
    if json:
        terminal.print_json([one.as_json() for one in found])
    else:
        for one in found:
            typer.echo(f"{one.severity}: {one.split}: {one.message}")
        if not leaks:
            typer.echo("no leak found")
    raise typer.Exit(1 if leaks else 0)
