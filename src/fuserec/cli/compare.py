"""``fuserec compare``: is one better, or was it luck?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fuserec.cli.options import DEFAULT_METRICS, Json, Markdown, Metrics

__all__ = ["command"]


def command(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders; the recipe of the first is the reference.")
    ],
    metric: Metrics = None,
    part: Annotated[
        str, typer.Option("--part", help="The evaluation: valid, test, test-mmrec, ...")
    ] = "valid",
    json: Json = False,
    markdown: Markdown = False,
) -> None:
    """Compare runs user by user: ahead, level or behind the first.

    Runs of one recipe with several seeds are averaged first. The interval comes from a paired bootstrap over
    users; only where it leaves out 0 is a run ahead or behind. Runs that were measured in different ways are
    refused.

    Example:
      fuserec compare runs/lightgcn runs/tmfun --part test
      fuserec compare runs/a-0 runs/a-1 runs/b-0 runs/b-1 --metric Recall@10
    """
    from fuserec.cli.systems import print_systems
    from fuserec.training.checkpoint import Run
    from fuserec.training.compare import compare_systems

    metrics = metric or DEFAULT_METRICS
    systems = compare_systems([Run.open(path) for path in runs], part, metrics)
    title = f"{part}, against {systems[0].name}"
    print_systems(systems, metrics, title=title, json=json, markdown=markdown)
