"""Commands that can be stopped and taken up again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from fuserec.training.interruption import sigterm_as_ctrl_c

__all__ = ["resumable"]


@contextmanager
def resumable() -> Iterator[None]:
    """SIGTERM ends as Ctrl-C does, and what training says of how to go on is the one line on stderr."""
    try:
        with sigterm_as_ctrl_c():
            yield
    except KeyboardInterrupt as error:
        if not error.args:
            raise
        typer.echo(f"interrupted: {error}", err=True)
        raise typer.Exit(130) from error
