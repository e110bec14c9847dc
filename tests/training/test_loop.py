from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fuserec.batch import Corpus, PairBatch, StagePlan
from fuserec.errors import ConfigError, TrainingError
from fuserec.models.popularity import PopularityScorer
from fuserec.models.protocol import Scorer
from fuserec.models.registry import GRADIENT_MODELS
from fuserec.testing.contract import all_scores, some_queries
from fuserec.testing.corpora import tiny_corpus, tiny_prepared
from fuserec.training.batches import stages
from fuserec.training.config import Recipe, TrainConfig
from fuserec.training.loop import Fitted, fit_by_gradient, total_loss, train_epoch
from fuserec.training.negatives import PairSampler
from fuserec.training.progress import Silent
from fuserec.training.run import fit
from fuserec.training.seeds import named_generator

CORPUS = tiny_corpus()
CPU = torch.device("cpu")
RecipeOf = Callable[..., Recipe]


class Slope(nn.Module):
    """Its loss ``fit`` is the sum of its weights, so plain SGD moves each of them by -lr a step.

    Args:
        values: loss of each step in turn, in place of that sum; the gradient stays 1.
    """

    def __init__(self, *, values: list[float] | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(CORPUS.num_items))
        self.register_buffer("kept", torch.ones(2))
        self.values = values
        self.calls: list[str] = []

    def begin_epoch(self) -> None:
        self.calls.append("epoch")

    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        total = self.weight.sum()
        if self.values is not None:
            total = total - total.detach() + self.values[self.calls.count("step")]
        self.calls.append("step")
        return {"fit": total, "none": 0 * total}

    def scorer(self) -> Scorer:
        return PopularityScorer(self.weight.detach().clone())


@dataclass
class Watcher:
    """Writes down what it is told."""

    told: list[tuple[str, Any]] = field(default_factory=list)

    def start(self, total: int, description: str) -> None:
        self.told.append(("start", (total, description)))

    def step(self, advance: int = 1, **figures: float) -> None:
        self.told.append(("step", (advance, figures)))

    def note(self, text: str) -> None:
        self.told.append(("note", text))

    def done(self) -> None:
        self.told.append(("done", None))

    def of(self, kind: str) -> list[Any]:
        return [what for name, what in self.told if name == kind]


def script(values: list[float]) -> tuple[Callable[[Scorer], Mapping[str, float]], list[Tensor]]:
    """A validation that says these values in turn, and the scores it was shown."""
    shown: list[Tensor] = []

    def validate(scorer: Scorer) -> Mapping[str, float]:
        shown.append(scorer.tensors()["counts"].clone())
        return {"Recall@20": values[len(shown) - 1], "NDCG@20": 0.5}

    return validate, shown


def run(
    values: list[float],
    *,
    model: Slope | None = None,
    progress: Watcher | None = None,
    corpus: Corpus = CORPUS,
    weights: Mapping[str, float] | None = None,
    **options: Any,
) -> tuple[Fitted, list[Tensor]]:
    validate, shown = script(values)
    merged: dict[str, Any] = {
        "epochs": len(values),
        "batch_size": 240,
        "learning_rate": 0.01,
        "device": "cpu",
    }
    config = TrainConfig(**(merged | options))
    fitted = fit_by_gradient(
        lambda _: model or Slope(),
        stages([StagePlan(batches="pairs")], corpus, batch_size=config.batch_size, seed=0),
        config,
        weights or {"fit": 1.0, "none": 0.0},
        seed=0,
        validate=validate,
        progress=progress,
    )
    return fitted, shown


def sampler(batch_size: int) -> PairSampler:
    return PairSampler(
        CORPUS,
        batch_size=batch_size,
        shuffle=named_generator(0, "shuffle"),
        negatives=named_generator(0, "negatives"),
    )


# --- stopping and choosing


def test_training_stops_after_patience_and_gives_back_the_best_epoch_bit_by_bit() -> None:
    fitted, shown = run([0.1, 0.3, 0.2, 0.25, 0.9], patience=2)
    assert [record.epoch for record in fitted.log] == [1, 2, 3, 4]
    assert fitted.best_epoch == 2
    assert torch.equal(fitted.scorer.tensors()["counts"], shown[1])
    assert torch.equal(fitted.weights["weight"], shown[1])
    assert not torch.equal(shown[1], shown[3]), "training did go on"


def test_the_weights_are_the_models_whole_state_and_its_own_copy() -> None:
    model = Slope()
    fitted, _ = run([0.2, 0.1], model=model)
    assert fitted.weights.keys() == {"weight", "kept"}
    assert not torch.equal(fitted.weights["weight"], model.weight), "the best epoch was not the last"


def test_of_equal_values_the_earlier_epoch_is_kept() -> None:
    assert run([0.3, 0.3, 0.3])[0].best_epoch == 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.3, -1.0]), min_size=1, max_size=8),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_the_loop_stops_and_chooses_as_a_plain_reading_of_the_rules(
    values: list[float], patience: int, every: int
) -> None:
    evaluated = [epoch for epoch in range(1, len(values) + 1) if epoch % every == 0 or epoch == len(values)]
    told = dict(zip(evaluated, values, strict=False))
    best, waited, last = evaluated[0], -1, evaluated[-1]
    for epoch in evaluated:
        waited = 0 if epoch == evaluated[0] or told[epoch] > told[best] else waited + 1
        best = epoch if waited == 0 else best
        if waited == patience:
            last = epoch
            break
    fitted, shown = run(values, patience=patience, evaluate_every=every)
    assert (fitted.best_epoch, len(fitted.log)) == (best, last)
    assert torch.equal(fitted.scorer.tensors()["counts"], shown[evaluated.index(best)])


@pytest.mark.parametrize(
    ("epochs", "every", "evaluated"), [(5, 2, [2, 4, 5]), (4, 2, [2, 4]), (1, 10, [1]), (3, 1, [1, 2, 3])]
)
def test_every_nth_epoch_and_the_last_are_evaluated(epochs: int, every: int, evaluated: list[int]) -> None:
    fitted, shown = run([0.1 * n for n in range(epochs)], epochs=epochs, evaluate_every=every)
    assert [record.epoch for record in fitted.log] == list(range(1, epochs + 1))
    assert [record.epoch for record in fitted.log if record.validation] == evaluated
    assert len(shown) == len(evaluated)


def test_patience_counts_evaluations_not_epochs() -> None:
    fitted, _ = run([0.5, 0.1, 0.1, 0.1], epochs=40, evaluate_every=10, patience=2)
    assert len(fitted.log) == 30


def test_a_validation_without_any_value_is_refused() -> None:
    with pytest.raises(
        TrainingError, match="expected a validation value of Recall@20, got none above minus infinity in 2 ep"
    ):
        run([-math.inf, -math.inf])
    with pytest.raises(TrainingError, match="check that the split has validation pairs"):
        run([math.nan])


def test_a_mistyped_monitor_names_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"^monitor 'Recal@20' is not measured; did you mean 'Recall@20'\?$"
    ):
        run([0.1], monitor="Recal@20")


def test_another_metric_can_be_monitored() -> None:
    assert run([0.1, 0.2], monitor="NDCG@20")[0].best_epoch == 1


# --- steps


def test_gradients_are_zeroed_between_steps() -> None:
    # the gradient is 1 at every step: 0 - 3 * 0.1 with zeroing, 0 - (1 + 2 + 3) * 0.1 without
    model = Slope()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    train_epoch(model, sampler(80), optimiser, {"fit": 1.0, "none": 1.0}, device=CPU, progress=Silent())
    torch.testing.assert_close(model.weight.detach(), torch.full((CORPUS.num_items,), -0.3))


def test_a_weight_scales_its_term_and_only_that() -> None:
    model = Slope(values=[4.0])
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = train_epoch(
        model, sampler(240), optimiser, {"fit": 0.5, "none": 7.0}, device=CPU, progress=Silent()
    )
    assert losses == {"fit": 4.0, "none": 0.0, "total": 2.0}
    torch.testing.assert_close(model.weight.detach(), torch.full((CORPUS.num_items,), -0.05))


def test_the_log_holds_the_mean_of_each_unweighted_term_over_the_steps() -> None:
    fitted, _ = run(
        [0.1], model=Slope(values=[1.0, 2.0, 6.0]), batch_size=80, weights={"fit": 2.0, "none": 1.0}
    )
    assert fitted.log[0].losses == {"fit": 3.0, "none": 0.0, "total": 6.0}
    assert fitted.log[0].validation == {"Recall@20": 0.1, "NDCG@20": 0.5}
    assert fitted.log[0].train_seconds > 0
    assert fitted.log[0].evaluation_seconds >= 0


def test_an_epoch_is_begun_once_before_its_first_step() -> None:
    model = Slope()
    run([0.1, 0.2], model=model, batch_size=100)
    assert model.calls == ["epoch", "step", "step", "step"] * 2


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_with_its_name_and_step_and_trains_no_further(bad: float) -> None:
    model = Slope(values=[1.0, 1.0, bad, 1.0])
    with pytest.raises(
        TrainingError,
        match=f"^loss 'fit' is {bad} at step 3 of epoch 1; lower the learning rate or its weight$",
    ):
        run([0.1], model=model, batch_size=60, learning_rate=0.1)
    assert model.calls == ["epoch", "step", "step", "step"]
    assert model.weight.isfinite().all()


def test_a_total_that_overflows_is_named_too() -> None:
    model = Slope(values=[1e38])
    with pytest.raises(TrainingError, match="loss 'total' is inf at step 1 of epoch 1;"):
        run([0.1], model=model, weights={"fit": 1e3, "none": 0.0})


@pytest.mark.parametrize("name", sorted(GRADIENT_MODELS))
def test_a_real_model_with_an_absurd_learning_rate_is_stopped(name: str, recipe_of: RecipeOf) -> None:
    with pytest.raises(TrainingError, match=r"loss '\w+' is (nan|inf) at step \d+ of epoch \d;"):
        fit(recipe_of(name, learning_rate=1e30, epochs=5), tiny_prepared(titled=True))


# --- weights of losses


def test_the_total_is_the_weighted_sum() -> None:
    terms = {"a": torch.tensor(2.0), "b": torch.tensor(10.0)}
    assert total_loss(terms, {"b": 0.5, "a": 3.0}).item() == 11.0


def test_a_weight_that_is_no_loss_and_a_loss_without_weight_are_refused() -> None:
    terms = {"bpr": torch.tensor(2.0), "l2": torch.tensor(10.0)}
    with pytest.raises(
        ConfigError, match=r"^\[loss_weights\] names 'brp', which is no loss; did you mean 'bpr'\?$"
    ):
        total_loss(terms, {"brp": 1.0, "l2": 1.0})
    with pytest.raises(
        ConfigError, match=r"^expected a weight for the loss 'l2' in \[loss_weights\], got none$"
    ):
        total_loss(terms, {"bpr": 1.0})


# --- who watches


def test_progress_is_told_of_every_epoch_step_and_loss() -> None:
    watcher = Watcher()
    run([0.3, 0.1, 0.1], progress=watcher, model=Slope(values=[2.0] * 9), batch_size=100, evaluate_every=2)
    assert watcher.of("start") == [(3, "epoch 1"), (3, "epoch 2"), (3, "epoch 3")]
    assert watcher.of("step") == [(1, {"fit": 2.0, "none": 0.0, "total": 2.0})] * 9
    assert len(watcher.of("done")) == 3
    assert watcher.of("note") == [
        "epoch 2: loss 2.0000, Recall@20 0.3000 (best 0.3000, 0 evaluations ago), at most 0 s left",
        "epoch 3: loss 2.0000, Recall@20 0.1000 (best 0.3000, 1 evaluations ago), at most 0 s left",
    ]


# --- determinism, with the real models


def curve(fitted: Fitted) -> list[tuple[int, dict[str, float], dict[str, float]]]:
    return [(record.epoch, dict(record.losses), dict(record.validation)) for record in fitted.log]


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", sorted(GRADIENT_MODELS))
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(name: str, recipe_of: RecipeOf) -> None:
    prepared = tiny_prepared(ready_graph=("image",), titled=True)
    fitted = []
    for seed, noise in ((0, 1), (0, 2), (1, 1)):
        with torch.random.fork_rng():
            torch.manual_seed(noise)
            fitted.append(fit(recipe_of(name, seed=seed), prepared))
    first, again, other = fitted
    assert curve(first) == curve(again)
    assert same(first.weights, again.weights)
    assert same(first.scorer.tensors(), again.scorer.tensors())
    assert curve(first) != curve(other)
    assert not same(first.weights, other.weights)


@pytest.mark.parametrize(
    ("name", "num_layers"),
    [
        (name, layers)
        for name, entry in sorted(GRADIENT_MODELS.items())
        if name != "bpr_mf"  # it has no layers
        for layers in ([0, 2] if entry.stages(entry.config())[-1].batches == "pairs" else [1, 2])
    ],
)
def test_the_best_epoch_of_a_real_model_survives_the_epochs_after_it(
    name: str, num_layers: int, recipe_of: RecipeOf
) -> None:
    prepared = tiny_prepared(ready_graph=("image",), titled=True)
    recipe = recipe_of(name, epochs=4, num_layers=num_layers)
    entry, config = GRADIENT_MODELS[name], recipe.train
    assert config is not None
    shown: list[Tensor] = []

    def best_is_the_second(scorer: Scorer) -> Mapping[str, float]:
        shown.append(all_scores(scorer, some_queries(prepared.corpus)))
        return {config.monitor: 1.0 if len(shown) == 2 else 0.0}

    fitted = fit_by_gradient(
        lambda generator: entry.build(recipe.model, prepared.corpus, generator),
        stages(entry.stages(recipe.model), prepared.corpus, batch_size=config.batch_size, seed=0),
        config,
        recipe.loss_weights,
        seed=0,
        validate=best_is_the_second,
    )
    earlier = sum(plan.epochs or 0 for plan in entry.stages(recipe.model))
    assert fitted.best_epoch == earlier + 2
    assert torch.equal(all_scores(fitted.scorer, some_queries(prepared.corpus)), shown[1])
    assert not torch.equal(shown[1], shown[3])
    again = entry.build(recipe.model, prepared.corpus, named_generator(9, "init"))
    assert isinstance(again, nn.Module)
    again.begin_epoch()
    again.load_state_dict(fitted.weights)
    assert again.state_dict().keys() == fitted.weights.keys()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what the test asks for in vain")
def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="device 'cuda' was asked for, but torch finds none; use 'cpu' or"):
        run([0.1], device="cuda")


def test_auto_finds_a_device_on_every_machine() -> None:
    assert run([0.1], device="auto")[0].weights["weight"].device == CPU
