"""``fuserec data fetch``: public data sets from their makers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fuserec.cli.options import Quiet

__all__ = ["command"]


def command(
    name: Annotated[
        str,
        typer.Argument(metavar="movielens-1m|movielens-latest-small", help="Which set.", show_default=False),
    ],
    out: Annotated[Path, typer.Argument(help="The folder to make.")],
    accept_terms: Annotated[
        bool,
        typer.Option(
            "--accept-terms",
            help="You have read the terms of use, which this command shows, and agree to them.",
        ),
    ] = False,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="URL",
            help="A folder on the web, or file:///FOLDER here, with the .zip and the .zip.md5. Default: its makers'.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the same set at OUT.")] = False,
    quiet: Quiet = False,
) -> None:
    """Download a public data set from its makers, compare its checksum and unpack it.

    It shows the terms of use first, and asks you to accept them.

    Example:
      fuserec data fetch movielens-latest-small movies --accept-terms
      fuserec data build dataset --events movies/ratings.csv --items movies/movies.csv
    """
    from fuserec.cli.terminal import note, progress
    from fuserec.data.fetch import fetch_set, terms_of
    from fuserec.data.public_sets import ADDRESS

    terms = terms_of(name)
    note(f"terms of use of {name}, in short:")
    for term in terms:
        note(f"- {term}")
    bar = progress(quiet=quiet)
    came = 0

    def on_bytes(more: int, size: int) -> None:
        nonlocal came
        if not came:
            bar.start(size, "bytes")
        came += more
        bar.step(more)

    place = address or ADDRESS
    try:
        fetch_set(name, out, accept_terms=accept_terms, address=place, overwrite=overwrite, on_bytes=on_bytes)
    finally:
        bar.done()
    note(f"next: fuserec data build DATASET --events {out / 'ratings.csv'} --items {out / 'movies.csv'}")
    typer.echo(out)
