"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "DEFAULT_METRICS",
    "Data",
    "Json",
    "Markdown",
    "Metrics",
    "MovedData",
    "Overwrite",
    "Quiet",
    "RunFolder",
    "Settings",
    "Split",
    "named_files",
]

DEFAULT_METRICS = ["Recall@20", "NDCG@20"]

RunFolder = Annotated[Path, typer.Argument(help="The run folder.", show_default=False)]
Data = Annotated[Path, typer.Option("--data", help="The dataset folder.")]
MovedData = Annotated[Path | None, typer.Option("--data", help="The dataset, if it has moved.")]
Split = Annotated[str | None, typer.Option("--split", help="Name of a split, in place of the recipe's.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe; repeatable.")
]
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", metavar="NAME", help="Repeatable. Default: Recall@20 and NDCG@20."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what stands in the place of --out.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and no progress.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print the table in Markdown.")]


def named_files(pairs: list[str] | None, option: str) -> dict[str, Path]:
    """NAME=FILE, each name once.

    Raises:
        ConfigError: it is written in another way, or a name is given twice.
    """
    from fuserec.errors import ConfigError

    files: dict[str, Path] = {}
    for pair in pairs or []:
        name, _, file = pair.partition("=")
        if not name or not file:
            raise ConfigError(f"expected {option} NAME=FILE, got {pair!r}")
        if name in files:
            raise ConfigError(f"expected every name once, but {option} {name}= is given twice")
        files[name] = Path(file)
    return files
