"""``fuserec similar``: what is like this item?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from fuserec.cli.filters import Category, Exclude, Only, filters_of
from fuserec.cli.options import Json, MovedData, RunFolder
from fuserec.cli.recommend import print_items

__all__ = ["command"]


def command(
    run: RunFolder,
    item: Annotated[str, typer.Argument(help="Id of an item.", show_default=False)],
    k: Annotated[int, typer.Option("-k", help="How many items.")] = 10,
    only: Only = None,
    exclude: Exclude = None,
    category: Category = None,
    data: MovedData = None,
    json: Json = False,
) -> None:
    """Show the items most like one, by what a run has learnt.

    A model with vectors compares them by their cosine; a model of item-to-item weights gives the weights that
    somebody who had this item alone would be served by. Of a model of sequences too it is the cosine; what follows an
    item is what 'fuserec recommend' says of a history of it alone. Popularity knows no similarity and says so.

    Example:
      fuserec similar runs/tmfun B01 -k 5
      fuserec similar runs/tmfun B01 --category Sea --json
    """
    from fuserec.cli import terminal
    from fuserec.data.dataset import Dataset
    from fuserec.index.answers import similar_items
    from fuserec.index.build import load

    recommender = load(run, None if data is None else Dataset.open(data))
    found = similar_items(recommender, item, k=k, filters=filters_of(only, exclude, category))
    if json:
        terminal.print_json(asdict(found))
        return
    title = found.item.get("title")
    typer.echo(
        f"similar to {found.item['item_id']}"
        + (f", {title}" if title else "")
        + (" (synthetic data)" if recommender.synthetic else "")
    )
    print_items(found.items, none="nothing is left to show")
