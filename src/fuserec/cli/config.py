"""``fuserec config``: what a recipe comes to."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from fuserec.cli.options import Json

__all__ = ["app", "show"]

app = typer.Typer(no_args_is_help=True)


@app.command("show")
def show(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE|RUN", help="A recipe file or name, or a run folder.")
    ],
    json: Json = False,
) -> None:
    """Show a recipe with every default written out, as TOML that train takes.

    Behind each value stands where it comes from: set by the recipe, the default, or, for a run, decided when it
    was trained.

    Example:
      fuserec config show demo/lightgcn
      fuserec config show runs/tmfun --json
    """
    from fuserec.cli import terminal
    from fuserec.training.resolved import as_toml, resolve

    resolved = resolve(recipe)
    if json:
        terminal.print_json(asdict(resolved))
    else:
        typer.echo(as_toml(resolved), nl=False)
