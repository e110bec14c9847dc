"""What people see: tables on stdout, progress and notes on stderr.

Nothing here knows what a number means; commands hand over words and figures.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import typer

from fuserec.training.progress import Lines, Progress, Silent, figures_line

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["note", "print_json", "print_markdown", "print_table", "progress"]


def note(text: str) -> None:
    """One line for people, on stderr."""
    typer.echo(text, err=True)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    # Where letters would be replaced on the way out they are escaped instead, so that ids stay what they are.
    ascii_only = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") != "utf8"
    typer.echo(json.dumps(value, ensure_ascii=ascii_only, allow_nan=False, default=str))


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """A table on stdout; the first column is text, those that hold only figures are set flush right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    cells = [list(row) for row in rows]
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for column, name in enumerate(header):
        figures = all(_is_figure(row[column]) for row in cells)
        table.add_column(name, justify="right" if figures and column else "left", overflow="fold")
    for row in cells:
        table.add_row(*row)
    # Outside a terminal the width is that of the table: a file or a pipe has no edge to wrap at.
    width = None if sys.stdout.isatty() else 200
    Console(width=width, markup=False, highlight=False, emoji=False).print(table)


def print_markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """The same table for a page of the documentation."""
    typer.echo("| " + " | ".join(header) + " |")
    typer.echo("|" + "---|" * len(header))
    for row in rows:
        typer.echo("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")


def _is_figure(cell: str) -> bool:
    return not cell or cell[0] in "+-.0123456789" or cell in {"-", ""}


def progress(*, quiet: bool = False) -> Progress:
    """Progress on stderr: a bar on a terminal, plain lines elsewhere, nothing when quiet."""
    if quiet:
        return Silent()
    return _Bar() if sys.stderr.isatty() else Lines()


class _Bar:
    def __init__(self) -> None:
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def start(self, total: int, description: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.done()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TextColumn("{task.fields[figures]}", style="cyan"),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True, highlight=False),
            transient=True,
        )
        self._task = self._bar.add_task(description, total=total, speed="", figures="")
        self._bar.start()

    def step(self, advance: int = 1, **figures: float) -> None:
        if self._bar is None or self._task is None:
            return
        speed = self._bar.tasks[0].speed
        self._bar.update(
            self._task,
            advance=advance,
            speed="" if speed is None else f"{speed:.3g}/s",
            figures=figures_line(figures),
        )

    def note(self, text: str) -> None:
        if self._bar is None:
            note(text)
        else:
            self._bar.console.print(text, markup=False)

    def done(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None
