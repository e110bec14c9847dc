"""``fuserec recipes``: what comes with fuserec."""

from __future__ import annotations

import typer

__all__ = ["command"]


def command() -> None:
    """List the recipes that come with fuserec.

    A name from this list, or a path to your own file, goes to train and sweep.

    Example:
      fuserec recipes
    """
    from fuserec.training.recipes import packaged_recipes

    for name in packaged_recipes():
        typer.echo(name)
