"""``fuserec features``: titles, texts, pictures, categories and numbers become features of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from fuserec.cli.options import Quiet, named_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fuserec.features.job import Outcome
    from fuserec.features.store import Told
    from fuserec.training.progress import Progress

__all__ = ["app", "make_command", "told_lines"]

_SHOWN = 10
"""Items told one by one for each kind of problem; all of them stand in a file."""

_LONGEST_ID = 100
"""Letters of an id that are shown."""


class _MakeByDefault(TyperGroup):
    """``fuserec features shop`` is ``fuserec features make shop``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in {"--help", "--install-completion"}:
            args = ["make", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="features",
    cls=_MakeByDefault,
    help="Make features of titles, texts and pictures; audit them.\n\n"
    "'fuserec features DATASET' is short for 'fuserec features make DATASET'.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("make")
def make_command(
    dataset: Annotated[Path, typer.Argument(help="A dataset folder; its features are made in it.")],
    text: Annotated[
        str | None,
        typer.Option(
            "--text",
            metavar="MODEL",
            help="Encoder of titles and texts: a name, a folder, or an id of the Hugging Face Hub. Default: what made "
            "those of the dataset, else all-MiniLM-L6-v2.",
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            "--image",
            metavar="MODEL",
            help="Encoder of pictures: classical (colours and edges, no learnt weights), a folder, or an id. Default: "
            "what made those of the dataset, else classical.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="FOLDER",
            help="The folder of pictures: named in the catalogue's image column, else by item id (12.jpg).",
        ),
    ] = None,
    number: Annotated[
        list[str] | None,
        typer.Option(
            "--number",
            metavar="[NAME=]COLUMN",
            help="A column of numbers or prices as a modality. May be repeated.",
        ),
    ] = None,
    vectors: Annotated[
        list[str] | None,
        typer.Option(
            "--vectors",
            metavar="NAME=FILE",
            help="Ready rows: .npy in the order of the items, or .npz or .parquet with ids. May be repeated.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="MODALITY", help="Make this one alone. May be repeated."),
    ] = None,
    longest: Annotated[
        int | None,
        typer.Option("--longest", metavar="TOKENS", help="Cut texts there. Default: the model's limit."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="Where encoders compute: cpu, cuda.")] = "cpu",
    download: Annotated[
        bool, typer.Option("--download", help="Fetch models that are not on this machine.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Encode everything anew, not only what changed.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace ready features of the same name.")
    ] = False,
    quiet: Quiet = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, and no progress.")] = False,
) -> None:
    """Make features of a dataset's content, in its folder; a second run encodes only what changed.

    Titles, texts and categories are found in the dataset. Ctrl-C and a crash lose seconds: run it again.

    Example:
      fuserec features make shop --images photos --number price
      fuserec features shop --text ./model --only title
    """
    from fuserec.cli.interruption import resumable
    from fuserec.cli.terminal import print_json, progress
    from fuserec.data import Dataset
    from fuserec.features.job import make_features
    from fuserec.features.tasks import Asked

    asked = Asked(
        text=text,
        image=image,
        images=images,
        numbers=_columns_by_name(number or []),
        vectors=named_files(vectors, "--vectors"),
        only=tuple(only or ()),
        longest=longest,
        device=device,
        download=download,
        fresh=fresh,
        overwrite=overwrite,
    )
    bar = progress(quiet=quiet or json)
    with resumable("run the same command again to go on"):
        outcome = make_features(Dataset.open(dataset), asked, progress=bar)
    if not quiet:
        _tell(outcome, bar)
    if json:
        print_json(_as_json(outcome))
    else:
        _table(outcome)


def _columns_by_name(given: Sequence[str]) -> dict[str, str]:
    """``[NAME=]COLUMN`` as columns by modality.

    Raises:
        ConfigError: a name is given twice.

    Example:
        >>> _columns_by_name(["price", "when=year"])
        {'price': 'price', 'when': 'year'}
    """
    from fuserec.errors import ConfigError

    numbers: dict[str, str] = {}
    for pair in given:
        name, _, column = pair.partition("=")
        if name in numbers:
            raise ConfigError(f"expected every name once, but --number {name} is given twice")
        numbers[name] = column or name
    return numbers


def _tell(outcome: Outcome, progress: Progress) -> None:
    """The problems of single items, the first few of each kind, and where all of them are."""
    for text in outcome.notes:
        progress.note(text)
    for modality, told in outcome.told.items():
        for line in told_lines(modality, told):
            progress.note(line)
        entry = outcome.dataset.manifest.modalities[modality].features
        if told and entry:
            progress.note(
                f"{modality}: all {len(told):,} in {outcome.dataset.path}/features/{entry.stem}.problems.csv"
            )


def told_lines(modality: str, told: Sequence[Told]) -> list[str]:
    """The first few of each kind of problem, an item a line, and how many more there are."""
    shown: dict[str, int] = {}
    lines = []
    for one in told:
        shown[one.kind] = shown.get(one.kind, 0) + 1
        if shown[one.kind] <= _SHOWN:
            # The name of a file may hold anything, line breaks and orders to the terminal too.
            source = one.source if one.source.isprintable() else repr(one.source)
            where = f" ({source})" if source else ""
            item = one.item_id if len(one.item_id) <= _LONGEST_ID else one.item_id[:_LONGEST_ID] + "..."
            lines.append(f"{modality}: item {item!r}{where}: {one.kind}: {one.message}")
    lines += [
        f"{modality}: and {number - _SHOWN:,} more: {kind}"
        for kind, number in shown.items()
        if number > _SHOWN
    ]
    return lines


def _table(outcome: Outcome) -> None:
    from fuserec.cli.terminal import print_table

    rows = []
    for line in outcome.lines:
        told = ", ".join(f"{kind} {number:,}" for kind, number in line.problems.items())
        speed = f"{line.encoded / line.seconds:,.0f}/s" if line.encoded and line.seconds else ""
        rows.append(
            [
                line.modality,
                line.encoder,
                f"{line.present:,} of {line.items:,}",
                f"{line.encoded:,}",
                f"{line.taken:,}",
                speed,
                told,
            ]
        )
    print_table(["modality", "made with", "items with it", "encoded", "not needed", "speed", "told"], rows)


def _as_json(outcome: Outcome) -> Mapping[str, Any]:
    from dataclasses import asdict

    return {
        "dataset": outcome.dataset.manifest_hash,
        "modalities": [asdict(line) for line in outcome.lines],
        "notes": list(outcome.notes),
        "problems": {name: [asdict(one) for one in told] for name, told in outcome.told.items()},
    }
