"""The one training loop.

It knows no model by name and never sees a held-out pair: validation is a function that it is given, and
there is no way from here to the test part.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fuserec.batch import Batch, Histories, ItemBatch, PairBatch
from fuserec.errors import ConfigError, TrainingError, nearest
from fuserec.models.protocol import Diagnosed, Gradient, Scorer
from fuserec.training.batches import Sampler, Stage
from fuserec.training.config import TrainConfig
from fuserec.training.progress import Progress, Silent, duration, figures_line
from fuserec.training.row_adam import RowAdam
from fuserec.training.seeds import named_generator
from fuserec.training.snapshots import Snapshots
from fuserec.training.state import Best, EpochRecord, Moving, Standing

__all__ = ["Fitted", "fit_by_gradient", "optimiser_for", "step_size", "total_loss", "train_epoch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What training leaves.

    Attributes:
        scorer: of the best epoch, on the CPU.
        weights: the model's parameters at the best epoch.
        best_epoch: counted from 1.
        log: one record an epoch.
    """

    scorer: Scorer
    weights: Mapping[str, Tensor]
    best_epoch: int
    log: tuple[EpochRecord, ...]


def fit_by_gradient(
    build: Callable[[torch.Generator], Gradient],
    stages: Sequence[Stage],
    config: TrainConfig,
    loss_weights: Mapping[str, float],
    *,
    seed: int,
    validate: Callable[[Scorer], Mapping[str, float]],
    progress: Progress | None = None,
    snapshots: Snapshots | None = None,
) -> Fitted:
    """Train until the validation metric stops getting better, and keep the best epoch.

    Args:
        build: makes the model from the generator of its initial weights.
        stages: what training goes through, one after another; the options' epochs are those of the last one.
        config: the loop's options.
        loss_weights: weight of each term that the model returns; the same names exactly.
        seed: of all generators.
        validate: means of the validation metrics of a scorer.
        progress: who watches.
        snapshots: where training is taken up and kept; None begins afresh and keeps nothing.

    Raises:
        TrainingError: a loss is not finite, or no negative can be drawn.
        ConfigError: the weights' names are not the losses', or the monitored metric is not measured.
    """
    progress = progress or Silent()
    device = _device(config.device)
    model = build(named_generator(seed, "init"))
    module = _as_module(model).to(device)
    _require_weights(stages, loss_weights)
    optimiser = optimiser_for(module, config)
    generators = {name: one for stage in stages for name, one in stage.sampler.generators.items()}
    moving = Moving(module=module, optimiser=optimiser, generators=generators)
    standing = snapshots.resume(moving) if snapshots else Standing()
    last_epoch = sum(stage.plan.epochs or 0 for stage in stages[:-1]) + config.epochs
    while not standing.has_ended(epochs=last_epoch, patience=config.patience):
        epoch = len(standing.log) + 1
        stage, begun, ends = _stage_at(stages, epoch, last_epoch=last_epoch)
        sampler = stage.sampler
        progress.start(len(sampler), f"epoch {epoch}")
        started = time.perf_counter()
        losses = train_epoch(
            model,
            sampler,
            optimiser,
            loss_weights
            if stage.plan.terms is None
            else {name: loss_weights[name] for name in stage.plan.terms},
            device=device,
            progress=progress,
            step_size=functools.partial(
                _later_step_size,
                config,
                before=(epoch - 1 - begun) * len(sampler),
                last=(ends - begun) * len(sampler),
            ),
            epoch=epoch,
        )
        trained = time.perf_counter()
        evaluated = stage.plan.evaluated and (
            (epoch - begun) % config.evaluate_every == 0 or epoch == last_epoch
        )
        scorer = _on_cpu(model.scorer()) if evaluated else None
        validation = dict(validate(scorer)) if scorer is not None else {}
        diagnostics = (
            model.diagnostics() if epoch == ends < last_epoch and isinstance(model, Diagnosed) else {}
        )
        record = EpochRecord(
            epoch=epoch,
            losses=losses,
            validation=validation,
            train_seconds=trained - started,
            evaluation_seconds=time.perf_counter() - trained,
            diagnostics=diagnostics,
        )
        progress.done()
        best, waited = standing.best, standing.waited
        if scorer is not None:
            value = _monitored(validation, config.monitor)
            if value > standing.best_value:
                weights = {name: tensor.cpu().clone() for name, tensor in module.state_dict().items()}
                best, waited = Best(epoch=epoch, value=value, scorer=scorer, weights=weights), 0
            else:
                waited += 1
        standing = Standing(log=(*standing.log, record), best=best, waited=waited)
        if snapshots:
            snapshots.keep(moving, standing)
        if scorer is not None:
            progress.note(_epoch_line(standing, config, last_epoch=last_epoch))
        elif epoch == ends:
            progress.note(f"epoch {epoch}, the last one over {stage.plan.batches}: {figures_line(losses)}")
        if diagnostics:
            progress.note(f"diagnostics after epoch {epoch}: {figures_line(diagnostics)}")
    if standing.best is None:
        raise TrainingError(
            f"expected a validation value of {config.monitor}, got none above minus infinity in "
            f"{len(standing.log)} epochs; check that the split has validation pairs"
        )
    best = standing.best
    return Fitted(scorer=best.scorer, weights=best.weights, best_epoch=best.epoch, log=standing.log)


def _epoch_line(standing: Standing, config: TrainConfig, *, last_epoch: int) -> str:
    """What there is to tell after an evaluation, with the longest that the rest may take."""
    last = standing.log[-1]
    left = (last_epoch - last.epoch) * standing.seconds_an_epoch
    return (
        f"epoch {last.epoch}: loss {last.losses['total']:.4f}, {config.monitor} {last.validation[config.monitor]:.4f} "
        f"(best {standing.best_value:.4f}, {standing.waited} evaluations ago), at most {duration(left)} left"
    )


def train_epoch(
    model: Gradient,
    sampler: Sampler,
    optimiser: torch.optim.Optimizer,
    loss_weights: Mapping[str, float],
    *,
    device: torch.device,
    progress: Progress,
    step_size: Callable[[int], float] | None = None,
    epoch: int = 1,
) -> dict[str, float]:
    """One pass over the batches of an epoch; the mean of each term over the steps.

    Args:
        model: its weights change.
        sampler: makes the batches.
        optimiser: of the model's parameters.
        loss_weights: weight of each term.
        device: where the model is.
        progress: who watches.
        step_size: of each step, counted from 1; None leaves the optimiser's as it is.
        epoch: counted from 1, for messages.

    Raises:
        TrainingError: a loss is not finite.
    """
    model.begin_epoch()
    sums: dict[str, float] = {}
    for step, batch in enumerate(sampler.epoch(), start=1):
        if step_size is not None:
            for group in optimiser.param_groups:
                group["lr"] = step_size(step)
        optimiser.zero_grad(set_to_none=True)
        terms = model.losses(_to(batch, device))
        total = total_loss(terms, loss_weights)
        values = {name: term.item() for name, term in terms.items()} | {"total": total.item()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"loss {name!r} is {value} at step {step} of epoch {epoch}; "
                    "lower the learning rate or its weight"
                )
            sums[name] = sums.get(name, 0.0) + value
        total.backward()
        optimiser.step()
        progress.step(1, **values)
    return {name: value / len(sampler) for name, value in sums.items()}


def total_loss(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The weighted sum of the terms.

    Raises:
        ConfigError: a term has no weight, or a weight no term.
    """
    _require_names(terms, weights)
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()


def _on_cpu(scorer: Scorer) -> Scorer:
    """The same scorer with its tensors on the CPU, where evaluation and serving run."""
    return type(scorer).from_tensors({name: tensor.cpu() for name, tensor in scorer.tensors().items()})


def _monitored(validation: Mapping[str, float], monitor: str) -> float:
    if monitor not in validation:
        raise ConfigError(f"monitor {monitor!r} is not measured; {nearest(monitor, validation)}")
    return validation[monitor]


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device 'cuda' was asked for, but torch finds none; use 'cpu' or 'auto'")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _as_module(model: Gradient) -> torch.nn.Module:
    assert isinstance(model, torch.nn.Module)
    return model


def _to(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cpu":
        return batch
    match batch:
        case PairBatch(users=users, positives=positives, negatives=negatives):
            return PairBatch(
                users=users.to(device), positives=positives.to(device), negatives=negatives.to(device)
            )
        case Histories(items=items, offsets=offsets):
            return Histories(items=items.to(device), offsets=offsets.to(device))
        case ItemBatch(items=items):
            return ItemBatch(items=items.to(device))


def optimiser_for(module: torch.nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Adam, with weight decay AdamW; by rows where a module says, as `torch.nn.Embedding` does, that its gradient is sparse."""
    if any(getattr(part, "sparse", False) for part in module.modules()):
        return RowAdam(module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    if config.weight_decay == 0:
        return torch.optim.Adam(module.parameters(), lr=config.learning_rate, fused=True)
    return torch.optim.AdamW(
        module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )


def step_size(config: TrainConfig, *, step: int, last: int) -> float:
    """The step size of a step, counted from 1; ``last`` is the last step there can be.

    Source: linear warm-up as in arXiv 1706.03762, section 5.3; cosine as in "SGDR" (arXiv 1608.03983), Eq. (5).

    Example:
        >>> config = TrainConfig(learning_rate=1.0, warmup_steps=2, schedule="cosine")
        >>> [round(step_size(config, step=step, last=6), 3) for step in range(1, 7)]
        [0.5, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    if step <= config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    passed = (step - config.warmup_steps) / max(last - config.warmup_steps, 1)
    return config.learning_rate * (1 + math.cos(math.pi * passed)) / 2


def _later_step_size(config: TrainConfig, step: int, *, before: int, last: int) -> float:
    return step_size(config, step=before + step, last=last)


def _stage_at(stages: Sequence[Stage], epoch: int, *, last_epoch: int) -> tuple[Stage, int, int]:
    """The stage of an epoch, the epoch before its first one, and its last one.

    Each stage warms up and cools down for itself.
    """
    begun = 0
    for stage in stages[:-1]:
        assert stage.plan.epochs is not None
        if epoch <= begun + stage.plan.epochs:
            return stage, begun, begun + stage.plan.epochs
        begun += stage.plan.epochs
    return stages[-1], begun, last_epoch


def _require_weights(stages: Sequence[Stage], weights: Mapping[str, float]) -> None:
    """Weights and terms have the same names, as far as the stages tell the terms."""
    if any(stage.plan.terms is None for stage in stages):
        assert len(stages) == 1, "of several stages each tells its terms"
        return  # `total_loss` compares them at the first step
    terms = frozenset().union(*(stage.plan.terms or () for stage in stages))
    _require_names(terms, weights)


def _require_names(terms: Collection[str], weights: Mapping[str, float]) -> None:
    for name in weights:
        if name not in terms:
            raise ConfigError(f"[loss_weights] names {name!r}, which is no loss; {nearest(name, terms)}")
    for name in terms:
        if name not in weights:
            raise ConfigError(f"expected a weight for the loss {name!r} in [loss_weights], got none")
