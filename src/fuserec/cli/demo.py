"""``fuserec demo``: the whole way on a corpus that the program makes itself, ending in a page of pictures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fuserec.cli.options import Overwrite, Quiet

if TYPE_CHECKING:
    from fuserec.data.dataset import Dataset
    from fuserec.training.checkpoint import Run
    from fuserec.training.progress import Progress

__all__ = ["command", "run_demo"]

RECIPES = ("popularity", "lightgcn", "tmfun")
TRAINED = ("lightgcn", "tmfun")
METRIC = "Recall@20"


def command(
    out: Annotated[Path, typer.Option("--out", help="The folder to make.")] = Path("demo"),
    users: Annotated[int, typer.Option("--users", help="Readers of the invented shop.")] = 2000,
    items: Annotated[int, typer.Option("--items", help="Books of the invented shop.")] = 1200,
    seed: Annotated[int, typer.Option("--seed", help="Of the shop and of training.")] = 7,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="At most so many for each model.")
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Invent a shop, train on it, show what readers get.

    The shop is synthetic: books, covers, readers. Three models learn from it and are measured. Takes a few minutes on two cores and ends with a page, report.html, for your browser.

    Example:
      fuserec demo
      fuserec demo --out /tmp/demo --overwrite
    """
    from fuserec.cli import terminal
    from fuserec.cli.systems import as_rows
    from fuserec.training.compare import compare_systems

    begun = time.monotonic()
    progress = terminal.progress(quiet=quiet)
    runs = run_demo(
        out, users=users, items=items, seed=seed, epochs=epochs, overwrite=overwrite, progress=progress
    )
    metrics = [METRIC, "NDCG@20"]
    header, rows = as_rows(compare_systems(runs, "test", metrics), metrics)
    terminal.print_table(header, rows, title="test part of synthetic data, against popularity")
    minutes = (time.monotonic() - begun) / 60
    typer.echo(f"done in {minutes:.1f} minutes; open {(out / 'report.html').resolve()}")


def run_demo(
    out: Path,
    *,
    users: int,
    items: int,
    seed: int,
    epochs: int | None,
    overwrite: bool,
    progress: Progress,
) -> list[Run]:
    """Make everything in ``out``: sample/, dataset/, runs/ and report.html.

    Raises:
        DataError: ``out`` exists and ``overwrite`` is false.
    """
    from fuserec.cli.story import tell
    from fuserec.data.build import Sources, build
    from fuserec.data.sample.world import SampleOptions
    from fuserec.data.sample.write import write_sample
    from fuserec.data.schema import BuildOptions
    from fuserec.errors import DataError
    from fuserec.files import write_text

    if out.exists() and not overwrite:
        raise DataError(f"expected a new folder, but {out} exists; choose another or pass --overwrite")
    progress.note("[1/4] inventing a bookshop (synthetic data)")
    progress.start(items, "drawing covers")
    shown = SampleOptions(num_users=users, num_items=items, seed=seed)
    write_sample(out / "sample", shown, overwrite=overwrite, on_picture=lambda *_: progress.step())
    progress.done()
    progress.note("[2/4] building the dataset")
    sample = out / "sample"
    sources = Sources(
        events=sample / "events.csv",
        items=sample / "items.csv",
        features={name: sample / "features" / f"{name}.npy" for name in ("text", "image")},
    )
    dataset = build(out / "dataset", sources, BuildOptions(synthetic=True), overwrite=overwrite)
    limit = [] if epochs is None else [f"train.epochs={epochs}"]
    settings = {name: [f"seed={seed}", *(limit if name in TRAINED else [])] for name in RECIPES}
    runs = _train(dataset, out / "runs", settings, overwrite=overwrite, progress=progress)
    progress.note("[4/4] writing the page")
    write_text(out / "report.html", tell(dataset, runs, sample=sample))
    return runs


def _train(
    dataset: Dataset, folder: Path, settings: dict[str, list[str]], *, overwrite: bool, progress: Progress
) -> list[Run]:
    from fuserec.training.config import load_recipe
    from fuserec.training.recipes import find_recipe
    from fuserec.training.run import evaluate_run, train

    prepared = dataset.prepare()
    runs = []
    for number, (name, changes) in enumerate(settings.items(), start=1):
        progress.note(f"[3/4] training {name} ({number} of {len(settings)})")
        path = find_recipe(f"demo/{name}")
        run = train(
            load_recipe(path, changes),
            prepared,
            folder / name,
            overwrite=overwrite,
            progress=progress,
            dataset=str(dataset.path.resolve()),
            source=path.read_text(encoding="utf-8"),
        )
        evaluate_run(run, prepared, part="test", progress=progress)
        runs.append(run)
    return runs
