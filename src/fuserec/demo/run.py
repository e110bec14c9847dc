"""Everything that ``fuserec demo`` makes, step by step."""

from __future__ import annotations

from pathlib import Path

from fuserec.data.build import Sources, build
from fuserec.data.dataset import Dataset
from fuserec.data.sample.world import SampleOptions
from fuserec.data.sample.write import write_sample
from fuserec.data.schema import BuildOptions
from fuserec.demo.story import tell
from fuserec.errors import DataError
from fuserec.files import write_text
from fuserec.training.checkpoint import Run
from fuserec.training.config import load_recipe
from fuserec.training.progress import Progress
from fuserec.training.recipes import find_recipe
from fuserec.training.run import evaluate_run, train

__all__ = ["run_demo"]

RECIPES = ("popularity", "lightgcn", "tmfun")
TRAINED = ("lightgcn", "tmfun")


def run_demo(
    out: Path,
    options: SampleOptions,
    *,
    epochs: int | None = None,
    overwrite: bool = False,
    progress: Progress,
) -> list[Run]:
    """Make sample/, dataset/, runs/ and report.html.

    Args:
        out: the folder to make.
        options: size of the shop, and the seed of everything.
        epochs: at most so many for each model that is trained; None leaves it to the recipes.
        overwrite: replace what stands there.
        progress: who watches.

    Returns:
        The runs, measured on test; the reference first.

    Raises:
        DataError: ``out`` exists and ``overwrite`` is false.
    """
    if out.exists() and not overwrite:
        raise DataError(f"expected a new folder, but {out} exists; choose another or pass --overwrite")
    sample = out / "sample"
    progress.note("[1/4] inventing a bookshop (synthetic data)")
    progress.start(options.num_items, "drawing covers")
    write_sample(sample, options, overwrite=overwrite, on_picture=progress.step)
    progress.done()
    progress.note("[2/4] building the dataset")
    sources = Sources(
        events=sample / "events.csv",
        items=sample / "items.csv",
        features={name: sample / "features" / f"{name}.npy" for name in ("text", "image")},
    )
    dataset = build(out / "dataset", sources, BuildOptions(synthetic=True), overwrite=overwrite)
    limit = [] if epochs is None else [f"train.epochs={epochs}"]
    settings = {name: [f"seed={options.seed}", *(limit if name in TRAINED else [])] for name in RECIPES}
    runs = _train(dataset, out / "runs", settings, overwrite=overwrite, progress=progress)
    progress.note("[4/4] writing the page")
    write_text(out / "report.html", tell(dataset, runs, sample=sample))
    return runs


def _train(
    dataset: Dataset, folder: Path, settings: dict[str, list[str]], *, overwrite: bool, progress: Progress
) -> list[Run]:
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
