"""``fuserec recommend``: what should these users get?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fuserec.cli.filters import Category, Exclude, Only, filters_of
from fuserec.cli.options import MovedData, Overwrite, RunFolder

if TYPE_CHECKING:
    from fuserec.index.answers import Answer

__all__ = ["command", "print_items"]

SOURCES = {
    "model": "from the trained model",
    "history": "from the history alone",
    "start": "no history that says anything: what people begin with",
    "popularity": "no history that says anything: the most popular items",
}


def command(
    run: RunFolder,
    user: Annotated[list[str] | None, typer.Option("--user", help="Id of a user; repeatable.")] = None,
    history: Annotated[
        str | None,
        typer.Option(
            "--history",
            metavar="ITEM,ITEM",
            help="Items that a new user has had, oldest first; one with a comma is quoted as in CSV.",
        ),
    ] = None,
    users: Annotated[Path | None, typer.Option("--users", help="A file with a user id a line.")] = None,
    all_users: Annotated[bool, typer.Option("--all-users", help="Every user of the dataset.")] = False,
    k: Annotated[int, typer.Option("-k", help="Items for each user.")] = 10,
    keep_seen: Annotated[bool, typer.Option("--keep-seen", help="Also items that the user has had.")] = False,
    only: Only = None,
    exclude: Exclude = None,
    category: Category = None,
    data: MovedData = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write .parquet, .csv or .jsonl.")] = None,
    overwrite: Overwrite = False,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON line for each user.")] = False,
) -> None:
    """Recommend items to users, known or new.

    Items that a user has had are left out, unless the dataset was built to keep repeats. A user who was not seen in
    training is served from their history, oldest item first. For an empty history, or one of items that the model
    knows nothing of, a model of sequences says what people begin with; from others such a user gets the most
    popular items. All of this is labelled. Filters apply before the best are chosen, and items that the catalogue
    marks as not available are never recommended.

    Example:
      fuserec recommend runs/tmfun --user A1 --user A2 -k 5
      fuserec recommend runs/tmfun --history B01,B02 --json
      fuserec recommend runs/tmfun --user A1 --category Sea --category Night --exclude @sold-out.txt
      fuserec recommend runs/tmfun --all-users --out recommendations.parquet
    """
    if sum([bool(user), history is not None, users is not None, all_users]) != 1:
        raise typer.BadParameter("give one of --user, --history, --users, --all-users")
    from fuserec.cli import terminal
    from fuserec.data.dataset import Dataset
    from fuserec.index.answers import answers
    from fuserec.index.build import load
    from fuserec.index.export import check_place, write_table
    from fuserec.index.ids import read_ids, split_ids

    if out is not None:
        check_place(out, overwrite=overwrite)
    recommender = load(run, None if data is None else Dataset.open(data))
    had = None if history is None else split_ids(history)
    known, unknown = recommender.known_items(had or [])
    if unknown:
        told = dict.fromkeys(map(repr, unknown))
        terminal.note(f"warning: unknown items of the history are left out: {', '.join(told)}")
    asked = user if users is None else read_ids(users)
    options: dict[str, Any] = {
        "k": k,
        "filter_viewed": False if keep_seen else None,
        "filters": filters_of(only, exclude, category),
    }
    if out is not None:
        ranked = recommender.ranked(asked, histories=None if had is None else [known], **options)
        write_table(ranked.frame.drop("query"), out, overwrite=overwrite)
        return
    for answer in answers(recommender, asked, histories=None if had is None else [had], **options):
        if json:
            terminal.print_json(asdict(answer))
        else:
            _print(answer, synthetic=recommender.synthetic)


def _print(answer: Answer, *, synthetic: bool) -> None:
    """A heading that says who and why, and a table of what."""
    heading = f"{answer.user_id}: {SOURCES[answer.source]}" + (" (synthetic data)" if synthetic else "")
    if answer.lately:
        heading += "\nhad lately: " + ", ".join(
            str(item.get("title") or item["item_id"]) for item in answer.lately
        )
    typer.echo(heading)
    print_items(answer.items, none="nothing is left to recommend")


def print_items(items: Sequence[dict[str, Any]], *, none: str) -> None:
    """A table of ranked items with what is told of them, or the words that say there are none."""
    from fuserec.cli import terminal

    if not items:
        typer.echo(none)
        return
    told = set().union(*items)
    columns = [name for name in ("rank", "item_id", "title", "category", "score") if name in told]
    terminal.print_table(columns, [[_cell(item.get(name)) for name in columns] for item in items])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
