"""A model in stages: items first, then histories, then histories again in other steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fuserec.batch import Histories, ItemBatch, StagePlan
from fuserec.errors import ConfigError
from fuserec.models.popularity import PopularityScorer
from fuserec.models.protocol import Scorer
from fuserec.testing.corpora import tiny_corpus
from fuserec.training.batches import stages
from fuserec.training.config import TrainConfig
from fuserec.training.loop import Fitted, fit_by_gradient, step_size
from fuserec.training.progress import Silent
from fuserec.training.snapshots import Snapshots

CORPUS = tiny_corpus()  # 30 items, 240 events
PLANS = (
    StagePlan(batches="items", epochs=2, batch_size=10, terms=frozenset({"spread"}), evaluated=False),
    StagePlan(batches="histories", epochs=3, batch_size=120, terms=frozenset({"follow"})),
    StagePlan(batches="histories", terms=frozenset({"follow", "spread"})),
)
STEPS = [3, 3, 2, 2, 2, 4, 4]
"""Of each epoch: 30 items by 10, 240 events by 120, 240 events by 60."""
WEIGHTS = {"spread": 0.5, "follow": 1.0}


class Table(nn.Module):
    """One number an item and one for all; it writes down what it is given."""

    epoch: Tensor

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.item = nn.Parameter(torch.randn(CORPUS.num_items, generator=generator))
        self.pull = nn.Parameter(torch.ones(()))
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))
        self.given: list[str] = []

    def begin_epoch(self) -> None:
        self.epoch += 1
        self.given.append("epoch")

    def losses(self, batch: ItemBatch | Histories) -> dict[str, Tensor]:
        self.given.append(type(batch).__name__)
        spread = self.item[batch.items].square().mean()
        if isinstance(batch, ItemBatch):
            return {"spread": spread}
        follow = (self.item[batch.items].diff() - self.pull).square().mean()
        return {"follow": follow, "spread": spread} if self.epoch > 5 else {"follow": follow}

    def scorer(self) -> Scorer:
        return PopularityScorer(self.item.detach().clone())

    def diagnostics(self) -> dict[str, float]:
        self.given.append("diagnostics")
        return {"length": self.item.detach().norm().item()}


@dataclass
class Watched:
    """Validation values in turn, and how often they were asked for."""

    values: list[float]
    asked: int = 0

    def __call__(self, scorer: Scorer) -> Mapping[str, float]:
        self.asked += 1
        return {"Recall@20": self.values[(self.asked - 1) % len(self.values)]}


@dataclass
class Stopping(Silent):
    """Interrupts at the start of an epoch."""

    at: int
    started: list[str] = field(default_factory=list)

    def start(self, total: int, description: str) -> None:
        self.started.append(description)
        if len(self.started) == self.at:
            raise KeyboardInterrupt


def config(**options: Any) -> TrainConfig:
    defaults: dict[str, Any] = {"epochs": 2, "batch_size": 60, "learning_rate": 0.1, "device": "cpu"}
    return TrainConfig(**(defaults | options))


def trained(
    *,
    plans: Sequence[StagePlan] = PLANS,
    weights: Mapping[str, float] = WEIGHTS,
    model: Table | None = None,
    validate: Watched | None = None,
    progress: Silent | None = None,
    snapshots: Snapshots | None = None,
    **options: Any,
) -> Fitted:
    chosen = config(**options)
    return fit_by_gradient(
        lambda generator: model or Table(generator),
        stages(plans, CORPUS, batch_size=chosen.batch_size, seed=0),
        chosen,
        weights,
        seed=0,
        validate=validate or Watched([0.1, 0.2, 0.3, 0.4, 0.5]),
        progress=progress,
        snapshots=snapshots,
    )


def kept_in(file: Path) -> Snapshots:
    return Snapshots(file, origin={"seed": 0}, machine={}, every=0.0)


def table(seed: int = 0) -> Table:
    return Table(torch.Generator().manual_seed(seed))


# --- what comes when


def test_batches_of_each_kind_come_for_the_epochs_of_their_stage() -> None:
    model = table()
    trained(model=model)
    items, histories = ["epoch", *["ItemBatch"] * 3], ["epoch", *["Histories"] * 2]
    last = ["epoch", *["Histories"] * 4]
    assert model.given == [*items * 2, "diagnostics", *histories * 3, "diagnostics", *last * 2]


def test_the_log_holds_the_terms_of_the_stage() -> None:
    log = trained().log
    assert [sorted(record.losses) for record in log[:2]] == [["spread", "total"]] * 2
    assert [sorted(record.losses) for record in log[2:5]] == [["follow", "total"]] * 3
    assert [sorted(record.losses) for record in log[5:]] == [["follow", "spread", "total"]] * 2
    assert log[0].losses["total"] == pytest.approx(0.5 * log[0].losses["spread"])
    both = log[-1].losses
    assert both["total"] == pytest.approx(0.5 * both["spread"] + both["follow"])


@dataclass
class Hearing(Silent):
    """Keeps what it is told."""

    heard: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.heard.append(text)


def test_what_a_stage_has_made_is_kept_and_told_when_another_goes_on_from_it() -> None:
    told = Hearing()
    log = trained(progress=told).log
    assert [record.epoch for record in log if record.diagnostics] == [2, 5]
    length = log[1].diagnostics["length"]
    assert f"diagnostics after epoch 2: length {length:.4g}" in told.heard
    assert log[4].diagnostics["length"] != length, "it is asked anew"


def test_a_stage_that_cannot_rank_is_not_evaluated_and_costs_no_patience() -> None:
    validate = Watched([0.5, 0.4, 0.3, 0.2, 0.1])
    fitted = trained(validate=validate, patience=1)
    assert [bool(record.validation) for record in fitted.log] == [False, False, True, True]
    assert (fitted.best_epoch, validate.asked) == (3, 2)


def test_epochs_between_two_evaluations_are_counted_from_the_beginning_of_a_stage() -> None:
    fitted = trained(evaluate_every=2, epochs=5)
    assert [record.epoch for record in fitted.log] == list(range(1, 11))
    assert [record.epoch for record in fitted.log if record.validation] == [4, 7, 9, 10]


def test_what_a_stage_does_not_use_stays_as_it_was() -> None:
    model = table()
    first = replace(PLANS[0], epochs=None, evaluated=True)
    trained(model=model, plans=[first], weights={"spread": 1.0}, weight_decay=0.5, epochs=3)
    assert model.pull.item() == 1.0
    assert not torch.equal(model.item, table().item)


# --- what is refused


def test_a_weight_that_no_stage_names_is_refused_before_the_first_step() -> None:
    model = table()
    with pytest.raises(
        ConfigError,
        match=r"^\[loss_weights\] names 'folow', which is no loss; did you mean 'follow'\?$",
    ):
        trained(model=model, weights={"spread": 1.0, "folow": 1.0})
    assert model.given == []


def test_a_term_of_a_later_stage_without_a_weight_is_refused_before_the_first_step() -> None:
    model = table()
    with pytest.raises(
        ConfigError, match=r"^expected a weight for the loss 'follow' in \[loss_weights\], got none$"
    ):
        trained(model=model, weights={"spread": 1.0})
    assert model.given == []


# --- resuming


def bits(fitted: Fitted) -> tuple[object, ...]:
    log = [
        (record.epoch, dict(record.losses), dict(record.validation), dict(record.diagnostics))
        for record in fitted.log
    ]
    weights = {name: tensor.tolist() for name, tensor in fitted.weights.items()}
    return fitted.best_epoch, log, weights, fitted.scorer.tensors()["counts"].tolist()


@pytest.mark.parametrize("at", [2, 3, 4, 6, 7])
def test_a_training_interrupted_in_any_stage_or_between_two_comes_to_the_same_bits(
    tmp_path: Path, at: int
) -> None:
    options: dict[str, Any] = {"weight_decay": 0.01, "warmup_steps": 3, "schedule": "cosine"}
    whole = trained(**options)
    with pytest.raises(KeyboardInterrupt):
        trained(**options, progress=Stopping(at), snapshots=kept_in(tmp_path / "state"))
    told = Stopping(0)
    validate = Watched([0.1, 0.2, 0.3, 0.4, 0.5])
    validate.asked = max(at - 3, 0)
    resumed = trained(**options, progress=told, snapshots=kept_in(tmp_path / "state"), validate=validate)
    assert told.started[0] == f"epoch {at}"
    assert bits(resumed) == bits(whole)


# --- the size of the steps


def sizes_of(monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[float]:
    """The step size of every step of a training."""
    found: list[float] = []
    name = "AdamW" if options.get("weight_decay") else "Adam"
    kind = getattr(torch.optim, name)

    class Told(kind):  # type: ignore[misc, valid-type]
        def step(self, *arguments: Any) -> Any:
            found.append(self.param_groups[0]["lr"])
            return super().step(*arguments)

    monkeypatch.setattr(torch.optim, name, Told)
    trained(**options)
    return found


def test_each_stage_warms_up_and_cools_down_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    found = sizes_of(monkeypatch, warmup_steps=2, schedule="cosine")
    assert len(found) == sum(STEPS)
    expected = [
        step_size(config(warmup_steps=2, schedule="cosine"), step=step, last=last)
        for last in (6, 6, 8)
        for step in range(1, last + 1)
    ]
    assert found == pytest.approx(expected)
    assert [found[first] for first in (0, 6, 12)] == pytest.approx([0.05] * 3)
    assert [found[last] for last in (5, 11, 19)] == pytest.approx([0.0] * 3, abs=1e-12)


def test_the_last_stage_cools_down_over_the_epochs_of_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    found = sizes_of(monkeypatch, epochs=4, schedule="cosine", weight_decay=0.01)
    last = found[12:]
    assert len(last) == 16
    assert last[7] == pytest.approx(0.05)
    assert last == sorted(last, reverse=True)


def test_without_a_schedule_every_step_is_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(sizes_of(monkeypatch)) == {0.1}


@pytest.mark.parametrize(
    ("step", "expected"),
    [(1, 0.25), (4, 1.0), (5, 1.0 * (1 + math.cos(math.pi / 6)) / 2), (7, 0.5), (10, 0.0)],
)
def test_warm_up_and_cosine_by_hand(step: int, expected: float) -> None:
    options = TrainConfig(learning_rate=1.0, warmup_steps=4, schedule="cosine")
    assert step_size(options, step=step, last=10) == pytest.approx(expected)


def test_a_warm_up_longer_than_the_training_never_arrives() -> None:
    options = TrainConfig(learning_rate=1.0, warmup_steps=100, schedule="cosine")
    assert [step_size(options, step=step, last=3) for step in (1, 3)] == [0.01, 0.03]


# --- the optimiser


def one_step(**options: Any) -> tuple[Tensor, Tensor]:
    """Item numbers before and after one step over all items."""
    plan = StagePlan(batches="items", batch_size=30)
    model = table()
    trained(model=model, plans=[plan], weights={"spread": 1.0}, epochs=1, **options)
    return table().item.detach(), model.item.detach()


def test_weight_decay_takes_its_share_besides_what_adam_does() -> None:
    before, adam = one_step()
    # the first step of Adam has the length of the learning rate, whatever the gradient
    torch.testing.assert_close(adam, before - 0.1 * before.sign(), rtol=1e-4, atol=1e-5)
    _, decayed = one_step(weight_decay=0.2)
    torch.testing.assert_close(decayed, adam - 0.1 * 0.2 * before, rtol=1e-4, atol=1e-5)
