"""From a recipe and a prepared dataset to a run folder, and from a run folder to its numbers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from fuserec.batch import Prepared
from fuserec.errors import CheckpointError, ConfigError, DataError, TrainingError, nearest
from fuserec.files import write_json, write_text
from fuserec.metrics import METRICS
from fuserec.models.protocol import Scorer
from fuserec.models.registry import CLOSED_FORMS, GRADIENT_MODELS
from fuserec.training.allocator import keep_freed_memory
from fuserec.training.batches import stages
from fuserec.training.checkpoint import Run, save_scorer, save_tensors
from fuserec.training.config import Recipe
from fuserec.training.evaluate import Evaluation, evaluate, evaluate_pairs
from fuserec.training.evaluation_protocol import EvaluationProtocol, Part
from fuserec.training.loop import Fitted, fit_by_gradient
from fuserec.training.place import Place, run_place
from fuserec.training.progress import Progress, Silent
from fuserec.training.provenance import provenance
from fuserec.training.snapshots import Snapshots

__all__ = ["evaluate_run", "fit", "require_same_data", "train"]


def train(
    recipe: Recipe,
    prepared: Prepared,
    out: Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    save_every: float = 30.0,
    progress: Progress | None = None,
    dataset: str | None = None,
    source: str | None = None,
) -> Run:
    """Fit a recipe and write its run folder, whole or not at all.

    A training that is interrupted, however it is, leaves its state beside the place of the run folder.

    Args:
        recipe: what to fit.
        prepared: the dataset under the recipe's split.
        out: the run folder to make.
        overwrite: replace a run folder that stands there, and begin again where training was interrupted.
        resume: go on where training was interrupted, to the same bits; from the beginning if it was not.
        save_every: seconds between two writes of the state, at least; not below 0.
        progress: who watches.
        dataset: the dataset's folder, kept so that the run finds it again.
        source: the recipe's text as given, kept beside the resolved one.

    Raises:
        DataError: ``out`` exists, or is to be overwritten and is no run, or cannot be written; or nothing is
            held out for validation.
        ConfigError: the recipe names another split, or a monitor that is not measured; or another process
            trains into ``out``, or was interrupted there and neither ``resume`` nor ``overwrite`` is given.
        CheckpointError: what was interrupted there was another recipe, seed or dataset.
        TrainingError: training cannot go on.
        KeyboardInterrupt: saying after which epoch the state was saved, where it was.
    """
    if not len(prepared.valid):
        raise DataError(
            f"expected validation events in the split {prepared.split!r}, got none; choose another split, or build "
            "the dataset with one that has them"
        )
    progress = progress or Silent()
    recipe = _with_split(recipe, prepared)
    origin = provenance(prepared, seed=recipe.seed, dataset=dataset) | {"recipe_hash": recipe.hash}
    with run_place(out, overwrite=overwrite) as place:
        snapshots = Snapshots(
            place.state,
            origin={key: origin[key] for key in ("recipe_hash", "seed", "dataset_hash", "split_hash")},
            machine=_conditions(recipe, origin),
            every=save_every,
        )
        _require_intent(place, snapshots, resume=resume, overwrite=overwrite, progress=progress)
        try:
            fitted = fit(recipe, prepared, progress=progress, snapshots=snapshots)
            _write(place.stage, recipe, fitted, {**origin, "fit_seconds": snapshots.seconds}, source)
            Run(path=place.stage, recipe=recipe, provenance=origin).store(
                "valid", _validate(fitted.scorer, prepared, recipe)
            )
        except TrainingError:
            # It would fail in the same way again.
            place.discard()
            raise
        except BaseException as error:
            snapshots.write()
            if isinstance(error, KeyboardInterrupt) and snapshots.epoch is not None:
                raise KeyboardInterrupt(f"saved after epoch {snapshots.epoch}") from error
            raise
        place.publish(overwrite=overwrite)
    return Run.open(out)


def _require_intent(
    place: Place, snapshots: Snapshots, *, resume: bool, overwrite: bool, progress: Progress
) -> None:
    """Take up an interrupted training, or throw it away, only where that was asked for."""
    if overwrite and not resume:
        place.state.unlink(missing_ok=True)
        return
    epoch = snapshots.epoch
    if epoch is None:
        if resume:
            progress.note(f"nothing to resume at {place.out}; starting from the beginning")
    elif resume:
        snapshots.require_same_origin()
        progress.note(f"resuming after epoch {epoch}")
    else:
        raise ConfigError(
            f"found an interrupted run at epoch {epoch} of {place.out}; add --resume to continue, or --overwrite to "
            "start again"
        )


def _conditions(recipe: Recipe, origin: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the last bits of a training, besides recipe, seed and data."""
    return {
        **origin["machine"],
        "commit": origin["commit"],
        "keeps freed memory": keep_freed_memory(),
        "device asked for": recipe.train and recipe.train.device,
    }


def _write(
    stage: Path, recipe: Recipe, fitted: Fitted, provenance: Mapping[str, Any], source: str | None
) -> None:
    if source is not None:
        write_text(stage / "recipe.toml", source)
    write_json(stage / "config.json", recipe.to_dict())
    write_json(stage / "provenance.json", provenance)
    save_scorer(stage / "scorer.safetensors", fitted.scorer)
    if fitted.weights:
        save_tensors(stage / "model.safetensors", fitted.weights)
    lines = [json.dumps(dataclasses.asdict(record)) + "\n" for record in fitted.log]
    write_text(stage / "log.jsonl", "".join(lines))
    write_json(stage / "metrics.json", {})


def _with_split(recipe: Recipe, prepared: Prepared) -> Recipe:
    """The recipe with the split written out."""
    if recipe.split not in (None, prepared.split):
        raise ConfigError(
            f"the recipe is for split {recipe.split!r}, got the dataset under {prepared.split!r}"
        )
    return dataclasses.replace(recipe, split=prepared.split)


def fit(
    recipe: Recipe,
    prepared: Prepared,
    *,
    progress: Progress | None = None,
    snapshots: Snapshots | None = None,
) -> Fitted:
    """Fit a recipe; nothing is written but snapshots where they are asked for. See `train`."""
    recipe = _with_split(recipe, prepared)
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
        stages(
            entry.stages(recipe.model),
            prepared.corpus,
            batch_size=recipe.train.batch_size,
            seed=recipe.seed,
        ),
        recipe.train,
        recipe.loss_weights,
        seed=recipe.seed,
        validate=lambda scorer: _validate(scorer, prepared, recipe).means(),
        progress=progress,
        snapshots=snapshots,
    )


def require_same_data(run: Run, prepared: Prepared) -> None:
    """Refuse data that the run was not trained on.

    Raises:
        CheckpointError: the splits differ.
    """
    if run.provenance["split_hash"] != prepared.split_hash:
        raise CheckpointError(
            f"{run.path} was trained on other data (split {run.provenance['split_hash'][:12]}) than what it would "
            f"be measured on ({prepared.split_hash[:12]}); give the dataset it was trained on"
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
    require_same_data(run, prepared)
    protocol = (
        EvaluationProtocol.compatibility(compatibility, prepared, part)
        if compatibility
        else EvaluationProtocol.standard(prepared, part, history=run.recipe.evaluation.history)
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
