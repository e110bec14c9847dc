"""``fuserec data sample``: invent a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fuserec.cli.options import Quiet

__all__ = ["sample"]


def sample(
    out: Annotated[Path, typer.Argument(help="The folder to make.")],
    users: Annotated[int, typer.Option(help="How many readers.")] = 2000,
    items: Annotated[int, typer.Option(help="How many books.")] = 1200,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 7,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it stands there.")] = False,
    quiet: Quiet = False,
) -> None:
    """Invent a bookshop: events, books with texts and drawn covers, and features. All of it is synthetic.

    Example:
      fuserec data sample shop
      fuserec data build shop-dataset --events shop/events.csv --items shop/items.csv --features text=shop/features/text.npy --features image=shop/features/image.npy
    """
    from fuserec.cli.terminal import note, progress
    from fuserec.data.sample.world import SampleOptions
    from fuserec.data.sample.write import write_sample

    bar = progress(quiet=quiet)
    bar.start(items, "drawing covers")
    try:
        write_sample(
            out,
            SampleOptions(num_users=users, num_items=items, seed=seed),
            overwrite=overwrite,
            on_picture=lambda: bar.step(),
        )
    finally:
        bar.done()
    if not quiet:
        note(f"wrote a SYNTHETIC bookshop of {users} readers and {items} books to {out}")
    typer.echo(out)
