"""``fuserec train``: a recipe and a dataset become a run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from fuserec.cli.options import Data, Json, Overwrite, Quiet, Settings, Split

__all__ = ["command"]


def command(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or a name that `fuserec recipes` lists.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Where the run folder shall stand.")],
    seed: Annotated[int | None, typer.Option("--seed", help="In place of the recipe's.")] = None,
    settings: Settings = None,
    split: Split = None,
    overwrite: Overwrite = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where training into --out was interrupted.")
    ] = False,
    save_every: Annotated[
        float, typer.Option("--save-every", metavar="SECONDS", help="Least time between two saved states.")
    ] = 30.0,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train a recipe on a dataset.

    Training stops when the validation metric stops getting better; the test part is not read. The run
    folder appears whole, when training has ended, or not at all. A training that was interrupted, by Ctrl-C
    or by a power cut, goes on with --resume and ends with the same bits as if nothing had happened.

    Example:
      fuserec train baby/tmfun --data data/baby --out runs/tmfun
      fuserec train my.toml --data data/shop --out runs/a --seed 1 --set model.dim=32
      fuserec train baby/tmfun --data data/baby --out runs/tmfun --resume
    """
    from fuserec.cli import terminal
    from fuserec.cli.interruption import resumable
    from fuserec.data.dataset import Dataset
    from fuserec.training.config import load_recipe
    from fuserec.training.recipes import find_recipe
    from fuserec.training.run import train

    path = find_recipe(recipe)
    changes = {"seed": seed, "split": split}
    overrides = [
        *(settings or []),
        *(f"{key}={value}" for key, value in changes.items() if value is not None),
    ]
    loaded = load_recipe(path, overrides)
    with resumable("add --resume to go on from there"):
        dataset = Dataset.open(data)
        run = train(
            loaded,
            dataset.prepare(loaded.split),
            out,
            overwrite=overwrite,
            resume=resume,
            save_every=save_every,
            progress=terminal.progress(quiet=quiet or json),
            dataset=str(dataset.path.resolve()),
            source=path.read_text(encoding="utf-8"),
        )
    if json:
        terminal.print_json({"run": str(run.path), "recipe": loaded.name, "evaluations": run.metrics})
    else:
        terminal.note(f"the run is in {run.path}; next:  fuserec evaluate {shlex.quote(str(run.path))}")
