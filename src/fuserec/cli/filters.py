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
        DataError: a file of ids cannot be read.
    """
    from fuserec.index.filters import Filters
    from fuserec.index.ids import ids_or_file

    return Filters(
        only=None if only is None else ids_or_file(only),
        exclude=None if exclude is None else ids_or_file(exclude),
        categories=category or None,
    )
