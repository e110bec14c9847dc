"""``fuserec data import-mmrec | export``: to and from the folders of other libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["export_command", "import_mmrec_command"]

_Json = Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")]


def import_mmrec_command(
    folder: Annotated[Path, typer.Argument(help="Holds one .inter file and the *_feat.npy beside it.")],
    out: Annotated[Path, typer.Argument(help="The dataset folder to make.")],
    repeats: Annotated[
        str,
        typer.Option(
            "--repeats",
            metavar="drop|keep",
            help="drop: a user's first event with an item counts. keep: all count.",
        ),
    ] = "drop",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a dataset that stands there.")
    ] = False,
    json: _Json = False,
) -> None:
    """Make a dataset of a folder that MMRec trains on, with its split (x_label) and features.

    Example:
      fuserec data import-mmrec data/baby baby
    """
    from fuserec.cli import terminal
    from fuserec.data.mmrec import import_mmrec
    from fuserec.data.show import describe

    manifest = import_mmrec(folder, out, repeats=repeats, overwrite=overwrite).manifest
    if json:
        terminal.print_json(manifest.model_dump(mode="json"))
    else:
        typer.echo(describe(manifest), nl=False)


def export_command(
    dataset: Annotated[Path, typer.Argument(help="A dataset folder.")],
    out: Annotated[Path, typer.Argument(help="The folder to make; its name becomes that of the files.")],
    form: Annotated[
        str, typer.Option("--format", metavar="mmrec|recbole", help="For which library the files are.")
    ],
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            metavar="NAME",
            help="Which split to write. Default: for mmrec the only one there is, for recbole none.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an export of the same name and format.")
    ] = False,
) -> None:
    """Write a dataset in the files of MMRec or RecBole; what has no place there is told.

    Example:
      fuserec data export shop exported/shop --format mmrec
    """
    from fuserec.cli import terminal
    from fuserec.data import Dataset
    from fuserec.data.export import export_to

    for told in export_to(Dataset.open(dataset), out, form, split=split, overwrite=overwrite):
        terminal.note(told)
    typer.echo(out)
