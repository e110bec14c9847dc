"""``fuserec data append``: new events and items behind those of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["command"]


def command(
    dataset: Annotated[Path, typer.Argument(help="A dataset folder; nothing in it changes.")],
    out: Annotated[Path, typer.Argument(help="The dataset folder to make.")],
    events: Annotated[Path, typer.Option("--events", help="The new log, in any format that build reads.")],
    items: Annotated[
        Path | None, typer.Option("--items", help="A catalogue of new items; those already there stay.")
    ] = None,
    columns: Annotated[
        str,
        typer.Option(
            "--columns",
            metavar="ROLE=COLUMN,...",
            help="Columns of the new files where they are called otherwise than in the old ones.",
        ),
    ] = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a dataset that stands at OUT.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Make a new dataset of an old one and new events: old rows stay, new users and items follow.

    Example:
      fuserec data append shop shop-march --events march.csv --items new_items.csv
    """
    from fuserec.cli import terminal
    from fuserec.data import Dataset
    from fuserec.data.append import append_events
    from fuserec.data.columns import parse_columns
    from fuserec.data.show import describe
    from fuserec.errors import ConfigError

    roles, splits = parse_columns(columns)
    if splits:
        raise ConfigError(
            f"split={splits[0]} cannot be given here: a split column keeps the name that it has in the dataset"
        )
    manifest = append_events(
        Dataset.open(dataset), out, events, items=items, columns=roles, overwrite=overwrite
    ).manifest
    if json:
        terminal.print_json(manifest.model_dump(mode="json"))
    else:
        typer.echo(describe(manifest), nl=False)
