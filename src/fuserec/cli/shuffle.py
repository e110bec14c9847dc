"""``fuserec data shuffle``: the content of the items dealt anew among them, as a control."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["command"]


def command(
    dataset: Annotated[Path, typer.Argument(help="A dataset folder; nothing in it changes.")],
    out: Annotated[Path, typer.Argument(help="The dataset folder to make.")],
    seed: Annotated[int, typer.Option("--seed", help="Seed of the permutation.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a dataset that stands at OUT.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Make a control: the same events, splits and catalogue, the items' features and graphs dealt anew among them.

    One permutation moves all modalities. A model that uses content should lose on it what content gave.

    Example:
      fuserec data shuffle shop shop-shuffled --seed 1
    """
    from fuserec.cli import terminal
    from fuserec.data import Dataset
    from fuserec.data.show import describe
    from fuserec.data.shuffled import shuffle_content

    manifest = shuffle_content(Dataset.open(dataset), out, seed=seed, overwrite=overwrite).manifest
    if json:
        terminal.print_json(manifest.model_dump(mode="json"))
    else:
        typer.echo(describe(manifest), nl=False)
