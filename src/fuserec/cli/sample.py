"""``fuserec data sample``: invent a corpus."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fuserec.cli.options import Quiet

__all__ = ["Format", "sample"]


class Format(StrEnum):
    """The shape of the raw files."""

    BOOKSHOP = "bookshop"
    MOVIELENS = "movielens"


def sample(
    out: Annotated[Path, typer.Argument(help="The folder to make.")],
    shape: Annotated[
        Format,
        typer.Option("--format", help="movielens: the same as ratings of films, without texts and covers."),
    ] = Format.BOOKSHOP,
    users: Annotated[int, typer.Option(help="How many readers.")] = 2000,
    items: Annotated[int, typer.Option(help="How many books.")] = 1200,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 7,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it stands there.")] = False,
    quiet: Quiet = False,
) -> None:
    """Invent a bookshop: events, books with texts and drawn covers, and features. All of it is synthetic.

    Example:
      fuserec data sample shop
      fuserec data sample films --format movielens --users 300 --items 200
      fuserec data build shop-dataset --events shop/events.csv --items shop/items.csv --features text=shop/features/text.npy --features image=shop/features/image.npy
    """
    from fuserec.cli.terminal import note, progress
    from fuserec.data.sample.movielens import write_movielens
    from fuserec.data.sample.world import SampleOptions
    from fuserec.data.sample.write import write_sample

    options = SampleOptions(num_users=users, num_items=items, seed=seed)
    if shape is Format.MOVIELENS:
        write_movielens(out, options, overwrite=overwrite)
        told = f"a SYNTHETIC MovieLens export of {users} users and {items} films"
    else:
        bar = progress(quiet=quiet)
        bar.start(items, "drawing covers")
        try:
            write_sample(out, options, overwrite=overwrite, on_picture=lambda: bar.step())
        finally:
            bar.done()
        told = f"a SYNTHETIC bookshop of {users} readers and {items} books"
    if not quiet:
        note(f"wrote {told} to {out}")
    typer.echo(out)
