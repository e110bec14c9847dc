"""From a recipe and a prepared dataset to a run folder, and from a run folder to its numbers."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Literal

from fuserec.batch import Prepared
from fuserec.errors import CheckpointError, ConfigError, DataError, nearest
from fuserec.files import new_folder, write_json, write_text
from fuserec.metrics import METRICS
from fuserec.models.protocol import Scorer
from fuserec.models.registry import CLOSED_FORMS, GRADIENT_MODELS
from fuserec.training.allocator import keep_freed_memory
from fuserec.training.checkpoint import Run, save_scorer, save_tensors
from fuserec.training.config import Recipe
from fuserec.training.evaluate import Evaluation, evaluate, evaluate_pairs
from fuserec.training.evaluation_protocol import EvaluationProtocol, Part
from fuserec.training.loop import Fitted, fit_by_gradient
from fuserec.training.progress import Progress, Silent
from fuserec.training.provenance import provenance

__all__ = ["evaluate_run", "fit", "train"]


def train(
    recipe: Recipe,
    prepared: Prepared,
    out: Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    dataset: str | None = None,
    source: str | None = None,
) -> Run:
    """Fit a recipe and write its run folder, whole or not at all.

    Args:
        recipe: what to fit.
        prepared: the dataset under the recipe's split.
        out: the run folder to make.
        overwrite: replace a folder that stands there.
        progress: who watches.
        dataset: the dataset's folder, kept so that the run finds it again.
        source: the recipe's text as given, kept beside the resolved one.

    Raises:
        DataError: ``out`` exists, or is to be overwritten and is no run, or cannot be written; or nothing is
            held out for validation.
        ConfigError: the recipe names another split, or a monitor that is not measured.
        TrainingError: training cannot go on.
    """
    if not len(prepared.valid):
        raise DataError(
            f"expected validation events in the split {prepared.split!r}, got none; choose another split, or build "
            "the dataset with one that has them"
        )
    with new_folder(out, overwrite=overwrite, mark="provenance.json") as stage:
        started = time.perf_counter()
        fitted = fit(recipe, prepared, progress=progress)
        seconds = time.perf_counter() - started
        recipe = dataclasses.replace(recipe, split=prepared.split)
        if source is not None:
            write_text(stage / "recipe.toml", source)
        write_json(stage / "config.json", recipe.to_dict())
        origin = provenance(prepared, seed=recipe.seed, dataset=dataset)
        write_json(stage / "provenance.json", {**origin, "recipe_hash": recipe.hash, "fit_seconds": seconds})
        save_scorer(stage / "scorer.safetensors", fitted.scorer)
        if fitted.weights:
            save_tensors(stage / "model.safetensors", fitted.weights)
        lines = [json.dumps(dataclasses.asdict(record)) + "\n" for record in fitted.log]
        write_text(stage / "log.jsonl", "".join(lines))
        write_json(stage / "metrics.json", {})
        evaluation = _validate(fitted.scorer, prepared, recipe)
        Run(path=stage, recipe=recipe, provenance=origin).store("valid", evaluation)
    return Run.open(out)


def fit(recipe: Recipe, prepared: Prepared, *, progress: Progress | None = None) -> Fitted:
    """Fit a recipe; nothing is written. See `train`."""
    if recipe.split not in (None, prepared.split):
        raise ConfigError(
            f"the recipe is for split {recipe.split!r}, got the dataset under {prepared.split!r}"
        )
    keep_freed_memory()
    progress = progress or Silent()
    if recipe.train is None:
        progress.start(1, f"fitting {recipe.model_name}")
        scorer = CLOSED_FORMS[recipe.model_name].build(recipe.model).fit(prepared.corpus)
        progress.done()
        return Fitted(scorer=scorer, weights={}, best_epoch=0, log=())
    measured = [f"{name}@{k}" for name in METRICS for k in recipe.evaluation.cutoffs]
    if recipe.train.monitor not in measured:
        raise ConfigError(
            f"monitor {recipe.train.monitor!r} is not measured; {nearest(recipe.train.monitor, measured)}"
        )
    entry = GRADIENT_MODELS[recipe.model_name]
    return fit_by_gradient(
        lambda generator: entry.build(recipe.model, prepared.corpus, generator),
        prepared.corpus,
        recipe.train,
        recipe.loss_weights,
        seed=recipe.seed,
        validate=lambda scorer: _validate(scorer, prepared, recipe).means(),
        progress=progress,
    )


def evaluate_run(
    run: Run,
    prepared: Prepared,
    *,
    part: Part,
    compatibility: Literal["mmrec", "lattice"] | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure a run and store the outcome in its folder, as ``valid``, ``test``, ``test-mmrec``, ...

    Raises:
        CheckpointError: the run was trained on other data.
    """
    if run.provenance["split_hash"] != prepared.split_hash:
        raise CheckpointError(
            f"{run.path} was trained on other data (split {run.provenance['split_hash'][:12]}) than what it would "
            f"be measured on ({prepared.split_hash[:12]}); give the dataset it was trained on"
        )
    protocol = (
        EvaluationProtocol.compatibility(compatibility, prepared, part)
        if compatibility
        else EvaluationProtocol.standard(prepared, part)
    )
    cutoffs = [k for k in run.recipe.evaluation.cutoffs if k <= (protocol.retrieved or k)]
    evaluation = evaluate(
        run.scorer(), prepared, part=part, protocol=protocol, cutoffs=cutoffs, progress=progress
    )
    run.store(f"{part}-{compatibility}" if compatibility else part, evaluation)
    return evaluation


def _validate(scorer: Scorer, prepared: Prepared, recipe: Recipe) -> Evaluation:
    """The validation part under the standard protocol; test pairs are not touched."""
    protocol = EvaluationProtocol.standard(prepared, "valid")
    masked = {"train": prepared.corpus.train} if protocol.masked_parts else {}
    return evaluate_pairs(
        scorer,
        prepared.corpus,
        prepared.valid,
        masked=masked,
        protocol=protocol,
        cutoffs=recipe.evaluation.cutoffs,
    )
