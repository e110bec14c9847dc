"""``fuserec compare``: is one better, or was it luck?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fuserec.cli.options import DEFAULT_METRICS, Json, Markdown, Metrics, MovedData

if TYPE_CHECKING:
    from torch import Tensor

    from fuserec.training.checkpoint import Run

__all__ = ["command"]


def command(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders; the recipe of the first is the reference.")
    ],
    metric: Metrics = None,
    part: Annotated[
        str, typer.Option("--part", help="The evaluation: valid, test, test-mmrec, ...")
    ] = "valid",
    users: Annotated[
        Path | None, typer.Option("--users", help="Compare on these users alone: a file with an id a line.")
    ] = None,
    data: MovedData = None,
    json: Json = False,
    markdown: Markdown = False,
) -> None:
    """Compare runs user by user: ahead, level or behind the first.

    Runs of one recipe with several seeds are averaged first. The interval comes from a paired bootstrap over
    users; only where it leaves out 0 is a run ahead or behind. Runs that were measured in different ways are
    refused. With --users the means and the intervals are those of the users in the file; who of them has nothing
    held out is left out, and that is told.

    Example:
      fuserec compare runs/lightgcn runs/tmfun --part test
      fuserec compare runs/lightgcn runs/tmfun --part test --users not-tied.txt
      fuserec compare runs/a-0 runs/a-1 runs/b-0 runs/b-1 --metric Recall@10
    """
    from fuserec.cli.systems import print_systems
    from fuserec.training.checkpoint import Run
    from fuserec.training.compare import compare_systems

    metrics = metric or DEFAULT_METRICS
    opened = [Run.open(path) for path in runs]
    rows = None if users is None else _rows(users, opened[0], part, data)
    systems = compare_systems(opened, part, metrics, users=rows)
    some = "" if rows is None else f" of {len(rows)} users"
    title = f"{part}{some}, against {systems[0].name}"
    print_systems(systems, metrics, title=title, json=json, markdown=markdown)


def _rows(users: Path, run: Run, part: str, data: Path | None) -> Tensor:
    """Rows of the users of a file who were measured; how many were not is told."""
    import torch

    from fuserec.cli import terminal
    from fuserec.data.dataset import Dataset
    from fuserec.index.build import dataset_of
    from fuserec.index.filters import known_rows
    from fuserec.index.ids import read_ids
    from fuserec.training.compare import of_users
    from fuserec.training.run import require_same_data

    dataset = dataset_of(run) if data is None else Dataset.open(data)
    require_same_data(run, dataset.prepare(run.recipe.split))
    asked = known_rows(
        read_ids(users), dataset.user_ids, what="user", advice=f"take them out of {users}"
    ).unique()
    measured: torch.Tensor = of_users(run.evaluation(part), asked).users
    if len(measured) < len(asked):
        terminal.note(
            f"{len(asked) - len(measured)} of the {len(asked)} users in {users} have nothing held out in {part} and "
            "are left out"
        )
    return measured
