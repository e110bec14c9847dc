"""``fuserec items``: the items that a run knows besides those it was trained with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fuserec.cli.features import told_lines
from fuserec.cli.options import Json, MovedData, RunFolder, named_files

if TYPE_CHECKING:
    import polars as pl

    from fuserec.data.dataset import Dataset
    from fuserec.index.addition import Addition, Encode
    from fuserec.index.extension import NewRows
    from fuserec.training.progress import Progress

__all__ = ["add", "app"]

_SHOWN = 10

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Let a run know items that came after training."""


@app.command("add")
def add(
    run: RunFolder,
    file: Annotated[Path, typer.Argument(help="A catalogue of new items, in any format that build reads.")],
    images: Annotated[
        Path | None, typer.Option("--images", metavar="FOLDER", help="The folder of their pictures.")
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            "--text", metavar="MODEL", help="The text encoder, where the dataset's came from a folder."
        ),
    ] = None,
    image: Annotated[
        str | None, typer.Option("--image", metavar="MODEL", help="The same for pictures.")
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            "--features",
            metavar="NAME=FILE",
            help="Vectors that come ready (.npy, .npz, .parquet); repeatable.",
        ),
    ] = None,
    columns: Annotated[
        str,
        typer.Option(
            "--columns",
            metavar="ROLE=COLUMN,...",
            help="Columns of FILE where they are called otherwise than in the dataset's catalogue.",
        ),
    ] = "",
    data: MovedData = None,
    json: Json = False,
) -> None:
    """Add new items to a run: placed by their content, recommended from now on, nothing trained.

    What the run says of the dataset's items stays as it is. Items that are there already are passed over. To take the
    items away again, remove the folder 'added' of the run.

    Example:
      fuserec items add runs/tmfun new.csv --images photos
    """
    from fuserec.cli import terminal
    from fuserec.data.columns import parse_columns
    from fuserec.data.dataset import Dataset
    from fuserec.errors import ConfigError
    from fuserec.index.addition import add_items
    from fuserec.index.build import dataset_of
    from fuserec.training.checkpoint import Run

    roles, splits = parse_columns(columns)
    if splits:
        raise ConfigError(f"split={splits[0]} cannot be given here: items have no split")
    opened = Run.open(run)
    dataset = dataset_of(opened) if data is None else Dataset.open(data)
    progress = terminal.progress(quiet=json)
    addition = add_items(
        opened,
        dataset,
        file,
        columns=roles,
        features=named_files(features, "--features"),
        encode=_encoder(dataset, images, text, image, progress),
        progress=progress,
    )
    if json:
        terminal.print_json(_as_json(addition))
    else:
        _print(addition, run)


def _encoder(
    dataset: Dataset, images: Path | None, text: str | None, image: str | None, progress: Progress
) -> Encode:
    """Encodes as the dataset's features were made, and tells what was noticed of single items."""

    def encode(new: pl.DataFrame) -> dict[str, NewRows]:
        import torch

        from fuserec.features.new_items import encode_items
        from fuserec.index.extension import NewRows

        found = encode_items(dataset, new, images=images, text=text, image=image, progress=progress)
        for line in (
            *found.notes,
            *(line for name in found.told for line in told_lines(name, found.told[name])),
        ):
            progress.note(line)
        return {
            name: NewRows(
                features=torch.from_numpy(rows).float(), present=torch.from_numpy(found.present[name])
            )
            for name, rows in found.rows.items()
        }

    return encode


def _print(addition: Addition, run: Path) -> None:
    from fuserec.cli import terminal
    from fuserec.data.report import count

    for finding in addition.findings:
        terminal.note(finding.line())
    number = len(addition.items)
    if addition.unplaced:
        some = ", ".join(map(repr, addition.unplaced[:_SHOWN]))
        more = ", ..." if len(addition.unplaced) > _SHOWN else ""
        terminal.note(
            f"{count(len(addition.unplaced), 'item')} without content that the model uses, so recommended to nobody: "
            f"{some}{more}"
        )
    content = ", ".join(f"{present:,} with {name}" for name, present in addition.with_content.items())
    typer.echo(f"added {count(number, 'item')} to {run} in {addition.seconds:.1f} s: {content}")
    if addition.total > number:
        typer.echo(f"{addition.total:,} added in all")


def _as_json(addition: Addition) -> dict[str, object]:
    from dataclasses import asdict

    findings = [finding.model_dump(mode="json") for finding in addition.findings]
    plain = {name: value for name, value in asdict(addition).items() if name != "findings"}
    return {**plain, "findings": findings}
