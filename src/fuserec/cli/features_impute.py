"""``fuserec features impute``: missing features filled in, as a new dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["command"]


def command(
    dataset: Annotated[Path, typer.Argument(help="A dataset folder; nothing in it changes.")],
    out: Annotated[Path, typer.Argument(help="The dataset folder to make.")],
    how: Annotated[
        str,
        typer.Option("--how", help="propagate (from items that share users), mean, or zeros (a control)."),
    ] = "propagate",
    modality: Annotated[
        list[str] | None,
        typer.Option("--modality", metavar="NAME", help="Only this one. May be repeated."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="The split whose training events are used, for propagate."),
    ] = None,
    neighbours: Annotated[
        int, typer.Option("--neighbours", help="Items that each item is joined to, for propagate.")
    ] = 20,
    steps: Annotated[int, typer.Option("--steps", help="How often rows are passed on, for propagate.")] = 20,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a dataset that stands at OUT.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Make a dataset in which items without features have some, of the training events of one split alone.

    Models know a missing modality by its mask and need none of this; docs/explanation/missing-modalities.md measures it.

    Example:
      fuserec features impute shop shop-imputed --modality image --split leave-one-out
    """
    from fuserec.cli import terminal
    from fuserec.data import Dataset
    from fuserec.data.show import describe
    from fuserec.features.impute import impute

    manifest = impute(
        Dataset.open(dataset),
        out,
        how=how,
        modalities=tuple(modality or ()),
        split=split,
        neighbours=neighbours,
        steps=steps,
        overwrite=overwrite,
    ).manifest
    if json:
        terminal.print_json(manifest.model_dump(mode="json"))
    else:
        typer.echo(describe(manifest), nl=False)
