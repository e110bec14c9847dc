"""A recommender from a recipe, or from a run that has ended."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import polars as pl
import torch

from fuserec.batch import Histories, Pairs, Prepared
from fuserec.data.dataset import Dataset
from fuserec.errors import CheckpointError
from fuserec.index.added import Added, with_added
from fuserec.index.recommend import Recommender
from fuserec.models.protocol import Scorer
from fuserec.training.checkpoint import Run
from fuserec.training.config import Recipe, load_recipe
from fuserec.training.progress import Progress
from fuserec.training.recipes import find_recipe
from fuserec.training.run import train

__all__ = ["assemble", "dataset_of", "fit", "load"]


def fit(
    recipe: str | Path | Recipe,
    dataset: Dataset,
    *,
    out: str | Path | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
) -> Recommender:
    """Train a recipe on a dataset and hand back what recommends.

    Args:
        recipe: a recipe, a path to one, or the name of one that comes with fuserec.
        dataset: what to train on.
        out: where the run folder shall stand; None keeps none.
        seed: in place of the recipe's.
        progress: who watches.

    Raises:
        ConfigError: the recipe cannot be used.
        DataError: ``out`` exists.
        TrainingError: training cannot go on.
    """
    source = None
    if not isinstance(recipe, Recipe):
        path = find_recipe(recipe)
        recipe, source = load_recipe(path), path.read_text(encoding="utf-8")
    if seed is not None:
        recipe = dataclasses.replace(recipe, seed=seed)
    prepared = dataset.prepare(recipe.split)
    with tempfile.TemporaryDirectory(prefix="fuserec-") as folder:
        place = Path(folder) / "run" if out is None else Path(out)
        run = train(
            recipe,
            prepared,
            place,
            progress=progress,
            dataset=str(dataset.path.resolve()),
            source=source,
        )
        return assemble(run.scorer(), dataset, prepared)


def load(run: str | Path, dataset: Dataset | None = None) -> Recommender:
    """The recommender of a run folder, with the items that were added to it.

    Args:
        run: the folder.
        dataset: what the run was trained on; None opens it where it was then.

    Raises:
        CheckpointError: the folder is no run, the dataset is not the one it was trained on, or what was added to the
            run is damaged.
        DataError: the dataset is not where it was, or its files have changed.
    """
    opened = Run.open(Path(run))
    dataset = dataset or dataset_of(opened)
    # Features that were made in the dataset later are nothing that the scorer needs.
    if opened.provenance["dataset_hash"] not in (dataset.manifest_hash, *dataset.manifest.ancestors):
        raise CheckpointError(
            f"expected the dataset that {opened.path} was trained on, but {dataset.path} is another one; "
            "train again or give the right dataset"
        )
    scorer = opened.scorer()
    if scorer.num_items != dataset.num_items:
        raise CheckpointError(
            f"expected a scorer of the {dataset.num_items} items of {dataset.path} in {opened.path}, got one of "
            f"{scorer.num_items}; train again"
        )
    recommender = assemble(scorer, dataset, dataset.prepare(opened.recipe.split))
    added = Added.open(opened)
    return recommender if added is None else with_added(recommender, added)


def dataset_of(run: Run) -> Dataset:
    """The dataset a run was trained on, opened where it was then.

    Raises:
        CheckpointError: the run does not know where it was.
        DataError: it is not there any more, or its files have changed.
    """
    place = run.provenance.get("dataset")
    if place is None:
        raise CheckpointError(f"expected {run.path} to know its dataset, but it does not; give the dataset")
    return Dataset.open(Path(place))


def assemble(
    scorer: Scorer, dataset: Dataset, prepared: Prepared, *, known: Pairs | None = None
) -> Recommender:
    """A recommender that knows what every user has had.

    Args:
        scorer: scores the items.
        dataset: gives the ids and what is known of the items.
        prepared: the same dataset under the split that the scorer was trained on.
        known: what the users are known to have had, oldest first. None takes all events of the dataset;
            with those of training and validation alone, the recommendations can be held against the test.
    """
    if known is None:
        events = dataset.interactions()
        known = Pairs(
            users=torch.from_numpy(events["user"].cast(pl.Int64).to_numpy(writable=True)),
            items=torch.from_numpy(events["item"].cast(pl.Int64).to_numpy(writable=True)),
        )
    trained = torch.zeros(prepared.corpus.num_users, dtype=torch.bool)
    trained[prepared.corpus.train.users] = True
    # By the manifest, since an older dataset may keep a column of that name that plays no role.
    withdrawing = "available" in dataset.manifest.columns["items"]
    available = torch.from_numpy(dataset.items["available"].to_numpy(writable=True)) if withdrawing else None
    return Recommender(
        scorer=scorer,
        user_ids=dataset.user_ids,
        items=dataset.items.drop("row"),
        histories=Histories.of(known, num_users=prepared.corpus.num_users),
        trained=trained,
        popularity=prepared.corpus.popularity(),
        available=available,
        repeats=prepared.repeats,
        synthetic=dataset.manifest.synthetic,
    )
