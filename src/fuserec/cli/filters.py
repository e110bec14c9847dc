"""The options by which commands filter what they show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fuserec.index.filters import Filters

__all__ = ["Category", "Exclude", "Only", "filters_of"]

_IDS = "ID,ID or @FILE"

Only = Annotated[
    str | None,
    typer.Option("--only", metavar=_IDS, help="Show only these items; a file holds an id a line."),
]
Exclude = Annotated[str | None, typer.Option("--exclude", metavar=_IDS, help="Show none of these items.")]
Category = Annotated[
    list[str] | None,
    typer.Option(
        "--category", metavar="NAME", help="Show only items of this category; repeatable: of any of them."
    ),
]


def filters_of(only: str | None, exclude: str | None, category: list[str] | None) -> Filters:
    """The filters that the options ask for.

    Raises:
        DataError: a file of ids cannot be read, or one for --only holds none.
    """
    from fuserec.cli import terminal
    from fuserec.index.filters import Filters
    from fuserec.index.ids import ids_or_file

    # Nothing may be sold out today, and then nothing is to be excluded; whoever misspelt a file is told.
    excluded = None if exclude is None else ids_or_file(exclude, may_be_empty=True)
    if excluded == []:
        terminal.note(f"--exclude {exclude} names no item: none is excluded")
    return Filters(
        only=None if only is None else ids_or_file(only),
        exclude=excluded,
        categories=category or None,
    )
