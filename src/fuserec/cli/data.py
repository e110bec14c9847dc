"""``fuserec data``: from raw files to a dataset folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fuserec.cli import data_lint
from fuserec.cli.options import named_files

if TYPE_CHECKING:
    from fuserec.data import BuildOptions, Manifest
    from fuserec.data.build import Sources

__all__ = ["app", "build_command", "check_command", "show_command"]

app = typer.Typer(
    name="data",
    help="Build a dataset from raw files, check the files, describe a dataset.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Events = Annotated[
    Path,
    typer.Option(
        "--events",
        help="The log, one event a row: .csv, .tsv, .jsonl, .inter (each also with .gz or .zst) or .parquet; or a folder of parts, or a pattern in quotes, 'logs/*.csv.gz'.",
    ),
]
_Items = Annotated[
    Path | None,
    typer.Option("--items", help="The catalogue: one item a row. Default: the items of the events."),
]
_Features = Annotated[
    list[str] | None,
    typer.Option(
        "--features",
        metavar="NAME=FILE",
        help="A feature matrix: .npy in the order of --items, or .npz or .parquet with ids. May be repeated.",
    ),
]
_Graphs = Annotated[
    list[str] | None,
    typer.Option(
        "--graph",
        metavar="NAME=FILE",
        help="A ready neighbour graph: .npz with neighbours and weights. May be repeated.",
    ),
]
_Columns = Annotated[
    str,
    typer.Option(
        "--columns",
        metavar="ROLE=COLUMN,...",
        help="Columns of the roles user, item, time, rating, type, split (may be repeated), title, category, text, "
        "image, available. 'time=' says there is none. Default: found by their common names.",
    ),
]
_Splits = Annotated[
    list[str] | None,
    typer.Option(
        "--split",
        metavar="KIND",
        help="column, leave-one-out, user-time, global-time, cold-items or random; may be repeated. Default: "
        "column if there is one, else leave-one-out.",
    ),
]
_Fractions = Annotated[
    str,
    typer.Option(
        "--fractions",
        metavar="TRAIN,VALID,TEST",
        help="Of each user's events (random, user-time), of all events (global-time), of items (cold-items).",
    ),
]
_MinRating = Annotated[float | None, typer.Option("--min-rating", help="Leave out events rated lower.")]
_KCore = Annotated[
    str | None,
    typer.Option(
        "--k-core",
        metavar="K|user=K,item=K",
        help="Drop users with fewer than K items and items with fewer than K users until none is left to drop.",
    ),
]
_Types = Annotated[
    str | None,
    typer.Option(
        "--types",
        metavar="TYPE,...",
        help="Keep events of these types only, such as buy,cart. Default: all events, whatever their type.",
    ),
]
_Repeats = Annotated[
    str,
    typer.Option(
        "--repeats",
        metavar="drop|keep",
        help="drop: a user's first event with an item counts, and seen items are never recommended. keep: all "
        "count, and seen items stay candidates (music, groceries).",
    ),
]
_TimeUnit = Annotated[
    str, typer.Option("--time-unit", metavar="auto|s|ms|us|ns", help="Unit of times written as numbers.")
]
_Strict = Annotated[
    bool, typer.Option("--strict", help="Refuse if any row would be left out, or a unit guessed.")
]
_Seed = Annotated[int, typer.Option("--seed", help="Seed of --split random and cold-items.")]
_Synthetic = Annotated[
    bool,
    typer.Option("--synthetic", help="Say, wherever the dataset is shown, that a program made the data."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")]


@app.command("build")
def build_command(
    out: Annotated[Path, typer.Argument(help="The folder to make.")],
    events: _Events,
    items: _Items = None,
    features: _Features = None,
    graph: _Graphs = None,
    columns: _Columns = "",
    split: _Splits = None,
    fractions: _Fractions = "0.8,0.1,0.1",
    min_rating: _MinRating = None,
    types: _Types = None,
    k_core: _KCore = None,
    repeats: _Repeats = "drop",
    time_unit: _TimeUnit = "auto",
    strict: _Strict = False,
    seed: _Seed = 0,
    synthetic: _Synthetic = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a dataset that stands there.")
    ] = False,
    json: _Json = False,
) -> None:
    """Build a dataset folder from raw files.

    Example:
      fuserec data build shop --events events.csv --items items.csv --features text=text.npy
    """
    from fuserec.data.build import build

    sources = _sources(events, items, features, graph)
    options = _options(columns, split, fractions, min_rating, types, k_core, repeats, time_unit, strict, seed)
    options = replace(options, synthetic=synthetic)
    dataset = build(out, sources, options, overwrite=overwrite)
    _print(dataset.manifest, json)


@app.command("check")
def check_command(
    events: _Events,
    items: _Items = None,
    features: _Features = None,
    graph: _Graphs = None,
    columns: _Columns = "",
    split: _Splits = None,
    fractions: _Fractions = "0.8,0.1,0.1",
    min_rating: _MinRating = None,
    types: _Types = None,
    k_core: _KCore = None,
    repeats: _Repeats = "drop",
    time_unit: _TimeUnit = "auto",
    strict: _Strict = False,
    seed: _Seed = 0,
    json: _Json = False,
) -> None:
    """Inspect raw files as build does, and write nothing.

    Exits with 1 and says why if build would refuse them.

    Example:
      fuserec data check --events events.csv --items items.csv --strict
    """
    from fuserec.data.build import check

    sources = _sources(events, items, features, graph)
    options = _options(columns, split, fractions, min_rating, types, k_core, repeats, time_unit, strict, seed)
    _print(check(sources, options), json)


@app.command("show")
def show_command(
    dataset: Annotated[Path, typer.Argument(help="A dataset folder.")],
    json: _Json = False,
) -> None:
    """Describe a dataset: counts, histories, splits, modalities, what the build noticed.

    Example:
      fuserec data show shop
    """
    from fuserec.data import Dataset

    _print(Dataset.open(dataset, verify=False).manifest, json)


app.command("lint")(data_lint.command)


def _sources(
    events: Path, items: Path | None, features: list[str] | None, graphs: list[str] | None
) -> Sources:
    from fuserec.data.build import Sources

    return Sources(
        events=events,
        items=items,
        features=named_files(features, "--features"),
        graphs=named_files(graphs, "--graph"),
    )


def _options(
    columns: str,
    split: list[str] | None,
    fractions: str,
    min_rating: float | None,
    types: str | None,
    k_core: str | None,
    repeats: str,
    time_unit: str,
    strict: bool,
    seed: int,
) -> BuildOptions:
    from fuserec.data import BuildOptions
    from fuserec.data.columns import parse_columns
    from fuserec.data.kcore import parse_k_core

    roles, split_columns = parse_columns(columns)
    return BuildOptions(
        columns=roles,
        split_columns=split_columns,
        splits=tuple(split or ()),
        fractions=_fractions(fractions),
        min_rating=min_rating,
        types=() if types is None else _types(types),
        k_core=None if k_core is None else parse_k_core(k_core),
        repeats=repeats,
        time_unit=time_unit,
        strict=strict,
        seed=seed,
    )


def _types(text: str) -> tuple[str, ...]:
    from fuserec.errors import ConfigError

    types = tuple(filter(None, (name.strip() for name in text.split(","))))
    if not types:
        # As a shell writes it where a variable is not set: all events would be the opposite of what was asked.
        raise ConfigError(
            f"expected --types TYPE,..., got {text!r}; name a type, or leave --types out to keep all events"
        )
    return types


def _fractions(text: str) -> tuple[float, float, float]:
    from fuserec.errors import ConfigError

    try:
        train, valid, test = map(float, text.split(","))
    except ValueError as error:
        raise ConfigError(f"expected --fractions TRAIN,VALID,TEST, got {text!r}") from error
    return train, valid, test


def _print(manifest: Manifest, json: bool) -> None:
    from fuserec.cli import terminal
    from fuserec.data.show import describe

    if json:
        terminal.print_json(manifest.model_dump(mode="json"))
    else:
        typer.echo(describe(manifest), nl=False)
