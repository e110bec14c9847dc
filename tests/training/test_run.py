from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fuserec.batch import Pairs
from fuserec.errors import CheckpointError, ConfigError, DataError, TrainingError
from fuserec.files import hash_json
from fuserec.models.registry import CLOSED_FORMS, GRADIENT_MODELS
from fuserec.testing.contract import all_scores, some_queries
from fuserec.testing.corpora import tiny_prepared
from fuserec.training.checkpoint import Run
from fuserec.training.config import Recipe, parse_recipe
from fuserec.training.evaluate import evaluate
from fuserec.training.progress import Silent
from fuserec.training.run import evaluate_run, fit, train

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "run-folder.md"
MODELS = [*CLOSED_FORMS, *GRADIENT_MODELS]
SOURCE = '# as given\n[model]\nname = "lightgcn"\n'
RecipeOf = Callable[..., Recipe]

PREPARED = tiny_prepared(ready_graph=("image",), titled=True)


class Stops(Silent):
    """Raises at the first note, so after the first epoch."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def note(self, text: str) -> None:
        raise self.error


class Reached(Silent):
    """Knows whether any work began."""

    begun = False

    def start(self, total: int, description: str) -> None:
        self.begun = True


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, recipe_of: RecipeOf) -> Run:
    """A run of LightGCN, measured on validation and test; not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "run"
    made = train(recipe_of("lightgcn"), PREPARED, out, dataset="data/tiny", source=SOURCE)
    evaluate_run(made, PREPARED, part="test")
    evaluate_run(made, PREPARED, part="test", compatibility="mmrec")
    return Run.open(out)


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# --- what a run folder holds


def test_a_run_folder_holds_these_files_and_no_others(run: Run) -> None:
    assert files_of(run.path) == {
        "recipe.toml",
        "config.json",
        "provenance.json",
        "scorer.safetensors",
        "model.safetensors",
        "log.jsonl",
        "metrics.json",
        "values/valid.npz",
        "values/test.npz",
        "values/test-mmrec.npz",
    }
    assert [path.name for path in run.path.parent.iterdir()] == ["run"]


def test_no_file_of_a_run_is_a_pickle(run: Run) -> None:
    for name in files_of(run.path):
        path = run.path / name
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                assert all(arrays[key].dtype != object for key in arrays.files)
        elif path.suffix == ".safetensors":
            load_file(path)
        else:
            assert path.suffix in {".toml", ".json", ".jsonl"}
            path.read_text(encoding="utf-8")
        assert not path.read_bytes().startswith(b"\x80"), f"{name} begins as a pickle does"


def test_the_recipe_is_kept_as_given_and_as_resolved(run: Run, recipe_of: RecipeOf) -> None:
    assert (run.path / "recipe.toml").read_text() == SOURCE
    resolved = dataclasses.replace(recipe_of("lightgcn"), split="leave-one-out")
    assert run.recipe == resolved
    assert json.loads((run.path / "config.json").read_text()) == resolved.to_dict()


def test_provenance_names_recipe_data_seed_and_time(run: Run) -> None:
    assert run.provenance["recipe_hash"] == run.recipe.hash
    assert run.provenance["dataset"] == "data/tiny"
    assert run.provenance["seed"] == run.recipe.seed
    assert run.provenance["split_hash"] == PREPARED.split_hash
    assert run.provenance["dataset_hash"] == PREPARED.dataset_hash
    assert run.provenance["fit_seconds"] > 0
    assert {"commit", "machine", "split"} <= run.provenance.keys()


def test_the_log_has_a_line_an_epoch(run: Run) -> None:
    assert [record["epoch"] for record in run.log] == [1, 2, 3]
    for record in run.log:
        assert record.keys() == {
            "epoch",
            "losses",
            "validation",
            "train_seconds",
            "evaluation_seconds",
            "diagnostics",
        }
        assert record["diagnostics"] == {}, "a model of one stage has none"
        assert record["losses"].keys() == {"bpr", "l2", "total"}
        assert "Recall@20" in record["validation"]


def test_what_the_fusion_layer_has_made_is_kept_by_the_epoch_that_ended_its_stage(
    tmp_path: Path, recipe_of: RecipeOf
) -> None:
    made = train(recipe_of("mufasa", fusion_epochs=2, epochs=1), PREPARED, tmp_path / "run")
    assert made.diagnostics.keys() == {2}
    assert made.diagnostics[2] == made.log[1]["diagnostics"]
    assert {"title_retrieval@1/fused", "effective_rank/anchor", "probe/image"} <= made.diagnostics[2].keys()


def test_a_run_of_an_older_version_has_no_diagnostics(tmp_path: Path, run: Run) -> None:
    shutil.copytree(run.path, tmp_path / "older")
    for record in (records := run.log):
        del record["diagnostics"]
    (tmp_path / "older" / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert Run.open(tmp_path / "older").diagnostics == {}


def test_the_stored_validation_is_the_best_epochs(run: Run) -> None:
    best = max(run.log, key=lambda record: record["validation"]["Recall@20"])
    assert run.metrics["valid"]["metrics"] == best["validation"]


@pytest.mark.parametrize("name", ["valid", "test", "test-mmrec"])
def test_stored_means_are_the_means_of_the_stored_values(run: Run, name: str) -> None:
    report, stored = run.metrics[name], run.evaluation(name)
    assert report["metrics"].keys() == stored.values.keys()
    assert report["users"] == len(stored.users) == PREPARED.corpus.num_users
    for metric, mean in report["metrics"].items():
        assert stored.values[metric].mean().item() == mean
    assert set(report["protocol_hash"]) <= set("0123456789abcdef")
    assert report["protocol"]["part"] == name.split("-")[0]


@pytest.mark.parametrize("part", ["valid", "test"])
def test_stored_values_are_what_the_stored_scorer_gives(run: Run, part: Any) -> None:
    again = evaluate(run.scorer(), PREPARED, part=part, cutoffs=run.recipe.evaluation.cutoffs)
    stored = run.evaluation(part)
    assert torch.equal(stored.users, again.users)
    for metric, values in again.values.items():
        assert torch.equal(stored.values[metric], values)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_becomes_a_run_that_scores_as_it_did(
    name: str, tmp_path: Path, recipe_of: RecipeOf
) -> None:
    recipe = recipe_of(name)
    made = train(recipe, PREPARED, tmp_path / "run")
    queries = some_queries(PREPARED.corpus)
    fitted = fit(recipe, PREPARED)
    assert torch.equal(all_scores(made.scorer(), queries), all_scores(fitted.scorer, queries))
    closed = name in CLOSED_FORMS
    assert (made.path / "model.safetensors").exists() is not closed
    earlier = () if closed else GRADIENT_MODELS[name].stages(recipe.model)[:-1]
    assert len(made.log) == (0 if closed else 3 + sum(plan.epochs or 0 for plan in earlier))
    assert made.metrics.keys() == {"valid"}
    if not closed:
        weights = load_file(made.path / "model.safetensors")
        assert weights.keys() == fitted.weights.keys()
        assert all(torch.equal(weights[key], fitted.weights[key]) for key in weights)


# --- whole or not at all


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), ValueError("a bug"), SystemExit(1)])
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_interrupts_training_leaves_its_state_and_no_run(
    tmp_path: Path, recipe_of: RecipeOf, error: BaseException, overwrite: bool
) -> None:
    with pytest.raises(type(error)):
        train(recipe_of("lightgcn"), PREPARED, tmp_path / "run", overwrite=overwrite, progress=Stops(error))
    assert files_of(tmp_path) == {".run.partial/state.safetensors"}


def test_what_interrupts_a_closed_form_leaves_nothing(tmp_path: Path, recipe_of: RecipeOf) -> None:
    class Stopped(Silent):
        def done(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        train(recipe_of("ease"), PREPARED, tmp_path / "run", progress=Stopped())
    assert raised.value.args == ()
    assert list(tmp_path.iterdir()) == []


def test_a_training_that_fails_leaves_nothing(tmp_path: Path, recipe_of: RecipeOf) -> None:
    with pytest.raises(TrainingError, match="lower the learning rate"):
        train(recipe_of("lightgcn", learning_rate=1e30), PREPARED, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_stands_there_is_refused_before_training_begins(
    tmp_path: Path, recipe_of: RecipeOf
) -> None:
    (tmp_path / "run").mkdir()
    watcher = Reached()
    with pytest.raises(
        DataError, match=r"expected a new folder, but .*run exists; choose another or pass --over"
    ):
        train(recipe_of("lightgcn"), PREPARED, tmp_path / "run", progress=watcher)
    assert not watcher.begun


def test_overwriting_replaces_a_run_only_after_success(tmp_path: Path, recipe_of: RecipeOf) -> None:
    out = tmp_path / "run"
    train(recipe_of("popularity"), PREPARED, out)
    before = {name: (out / name).read_bytes() for name in files_of(out)}
    with pytest.raises(KeyboardInterrupt):
        train(recipe_of("lightgcn"), PREPARED, out, overwrite=True, progress=Stops(KeyboardInterrupt()))
    assert {name: (out / name).read_bytes() for name in files_of(out)} == before
    train(recipe_of("lightgcn"), PREPARED, out, overwrite=True, resume=True)
    assert Run.open(out).recipe.model_name == "lightgcn"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_what_is_no_run_is_never_overwritten(tmp_path: Path, recipe_of: RecipeOf) -> None:
    precious = tmp_path / "home" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("mine")
    watcher = Reached()
    with pytest.raises(
        DataError,
        match=r"expected provenance\.json in the folder to overwrite, but .*home has none; choose another place",
    ):
        train(recipe_of("popularity"), PREPARED, precious.parent, overwrite=True, progress=watcher)
    assert precious.read_text() == "mine"
    assert not watcher.begun


@pytest.mark.parametrize("name", ["thesis.txt", "values/notes.md", "plots/a.npz", ".DS_Store"])
def test_a_run_with_a_foreign_file_in_it_is_never_overwritten(
    tmp_path: Path, recipe_of: RecipeOf, name: str
) -> None:
    out = tmp_path / "run"
    train(recipe_of("popularity"), PREPARED, out)
    precious = out / name
    precious.parent.mkdir(exist_ok=True)
    precious.write_text("mine")
    watcher = Reached()
    with pytest.raises(
        DataError,
        match=rf"expected only files of a run in the folder to overwrite, but .*run holds {name}; move",
    ):
        train(recipe_of("popularity"), PREPARED, out, overwrite=True, progress=watcher)
    assert precious.read_text() == "mine"
    assert not watcher.begun


def test_what_a_killed_write_left_in_a_run_is_no_foreign_file(tmp_path: Path, recipe_of: RecipeOf) -> None:
    out = tmp_path / "run"
    train(recipe_of("popularity"), PREPARED, out)
    (out / ".metrics.json.ab12").write_text("{")
    (out / "values" / ".test.npz.cd34").write_text("")
    train(recipe_of("popularity"), PREPARED, out, overwrite=True)
    assert not any(name.split("/")[-1].startswith(".") for name in files_of(out))


def test_an_empty_folder_may_be_overwritten(tmp_path: Path, recipe_of: RecipeOf) -> None:
    (tmp_path / "run").mkdir()
    assert train(recipe_of("popularity"), PREPARED, tmp_path / "run", overwrite=True).metrics


# --- what does not fit is refused


def test_a_recipe_for_another_split_is_refused_and_nothing_is_written(
    tmp_path: Path, recipe_of: RecipeOf
) -> None:
    recipe = dataclasses.replace(recipe_of("popularity"), split="random")
    with pytest.raises(
        ConfigError, match=r"^the recipe is for split 'random', got the dataset under 'leave-one-out'$"
    ):
        train(recipe, PREPARED, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_not_measured_on_other_data_than_it_was_trained_on(run: Run) -> None:
    other = tiny_prepared(seed=1)
    before = (run.path / "metrics.json").read_bytes()
    with pytest.raises(
        CheckpointError,
        match=rf"was trained on other data \(split {PREPARED.split_hash[:12]}\) than what it would be measured on "
        rf"\({other.split_hash[:12]}\); give the dataset it was trained on",
    ):
        evaluate_run(run, other, part="test")
    assert (run.path / "metrics.json").read_bytes() == before


def test_lattice_measures_the_cutoffs_it_has(run: Run, tmp_path: Path, recipe_of: RecipeOf) -> None:
    made = train(recipe_of("popularity", cutoffs=(10, 20, 25)), PREPARED, tmp_path / "run")
    evaluation = evaluate_run(made, PREPARED, part="test", compatibility="lattice")
    assert {name.partition("@")[2] for name in evaluation.values} == {"10", "20"}
    assert made.metrics["test-lattice"]["protocol"]["name"] == "lattice"


@pytest.mark.parametrize("name", ["lightgcn", "ease"])
def test_a_split_without_validation_pairs_is_refused(name: str, tmp_path: Path, recipe_of: RecipeOf) -> None:
    empty = torch.zeros(0, dtype=torch.int64)
    without = dataclasses.replace(PREPARED, valid=Pairs(users=empty, items=empty))
    with pytest.raises(
        DataError, match=r"expected validation events in the split 'leave-one-out', got none; choose"
    ):
        train(recipe_of(name), without, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_where_items_repeat_nothing_is_masked(tmp_path: Path, recipe_of: RecipeOf) -> None:
    made = train(recipe_of("popularity"), tiny_prepared(repeats=True), tmp_path / "run")
    assert made.metrics["valid"]["protocol"]["mask"] == "none"


def test_a_closed_form_is_told_to_who_watches(recipe_of: RecipeOf) -> None:
    watcher = Reached()
    fit(recipe_of("ease"), PREPARED, progress=watcher)
    assert watcher.begun


def test_the_hash_of_a_run_is_that_of_its_recipe_with_the_split_written_out(run: Run) -> None:
    table = json.loads((run.path / "config.json").read_text())
    assert table["split"] == PREPARED.split
    assert parse_recipe(table).hash == run.provenance["recipe_hash"]
    del table["name"], table["seed"], table["train"]["device"]
    for later in ("weight_decay", "warmup_steps", "schedule"):
        del table["train"][later]
    del table["evaluation"]["history"]
    assert hash_json(table) == run.provenance["recipe_hash"]


# --- the reference page


def test_the_page_names_every_file_and_every_key(run: Run) -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = [re.split(r" ?\| ?", line)[1] for line in page.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall("`([^`]+)`", row)}
    files = {re.sub(r"values/.*", "values/<evaluation>.npz", name) for name in files_of(run.path)}
    keys = {*run.provenance, *run.provenance["machine"], *run.log[0], *run.metrics["valid"]}
    assert named == files | keys
    for evaluation in run.metrics:
        assert f"`{evaluation}`" in page


def test_a_monitor_that_is_not_measured_is_refused_before_training(
    tmp_path: Path, recipe_of: RecipeOf
) -> None:
    class Watcher(Silent):
        def start(self, total: int, description: str) -> None:
            raise AssertionError(f"began with {description} of {total}")

    recipe = recipe_of("lightgcn")
    assert recipe.train is not None
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, monitor="Recall@7"))
    with pytest.raises(
        ConfigError, match=r"^monitor 'Recall@7' is not measured; did you mean 'Recall@\d+'\?$"
    ):
        fit(recipe, PREPARED, progress=Watcher())
