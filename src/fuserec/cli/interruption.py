"""Commands that can be stopped and taken up again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from fuserec.training.interruption import sigterm_as_ctrl_c

__all__ = ["resumable"]


@contextmanager
def resumable(how: str) -> Iterator[None]:
    """SIGTERM ends as Ctrl-C does, and where a state was saved the one line on stderr says how to go on.

    Args:
        how: what to do for that.
    """
    try:
        with sigterm_as_ctrl_c():
            yield
    except KeyboardInterrupt as error:
        if not error.args:
            raise
        typer.echo(f"interrupted: {error}; {how}", err=True)
        raise typer.Exit(130) from error
