from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from fuserec.batch import Prepared
from fuserec.errors import ConfigError, DataError, ProtocolError
from fuserec.files import write_json
from fuserec.testing.corpora import tiny_prepared
from fuserec.training.config import Recipe, TrainConfig, parse_recipe
from fuserec.training.progress import Silent
from fuserec.training.results import read_ledger, read_result, result_path
from fuserec.training.sweep import Job, alone, missing, plan, run_job, summarise

PREPARED = tiny_prepared()
EASE = parse_recipe({"name": "ease", "model": {"name": "ease"}})
POPULARITY = parse_recipe({"name": "popularity", "model": {"name": "popularity"}})
LIGHTGCN = parse_recipe(
    {
        "name": "lightgcn",
        "seed": 4,
        "model": {"name": "lightgcn", "dim": 4},
        "train": {"epochs": 1},
        "loss_weights": {"bpr": 1.0, "l2": 1e-4},
    }
)


def prepare(split: str | None) -> Prepared:
    assert split is None
    return PREPARED


def planned(folder: Path, *recipes: Recipe, seeds: int = 2) -> list[Job]:
    return plan(recipes, seeds=seeds, prepare=prepare, runs=folder / "runs")


def test_a_plan_gives_trained_recipes_seeds_and_closed_forms_one(tmp_path: Path) -> None:
    jobs = planned(tmp_path, EASE, LIGHTGCN)
    assert [(job.recipe.name, job.recipe.seed) for job in jobs] == [
        ("ease", 0),
        ("lightgcn", 4),
        ("lightgcn", 5),
    ]
    assert {job.recipe.split for job in jobs} == {PREPARED.split}
    assert len({job.folder for job in jobs}) == 3


def test_a_recipe_under_two_labels_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected different recipes, got 'again' twice"):
        planned(tmp_path, EASE, dataclasses.replace(EASE, name="again"))


def test_no_seed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected at least one seed, got 0"):
        planned(tmp_path, EASE, seeds=0)


def test_what_has_a_result_is_not_missing_and_test_needs_more_than_valid(tmp_path: Path) -> None:
    jobs, results = planned(tmp_path, EASE, POPULARITY), tmp_path / "results" / "tiny"
    assert missing(jobs, results=results, part="valid") == jobs
    run_job(jobs[0], results=results, part="valid")
    assert missing(jobs, results=results, part="valid") == jobs[1:]
    assert missing(jobs, results=results, part="test") == jobs
    assert read_ledger(tmp_path / "results") == []
    run_job(jobs[0], results=results, part="test")
    assert missing(jobs, results=results, part="test") == jobs[1:]
    (line,) = read_ledger(tmp_path / "results")
    assert line["recipe_hash"] == jobs[0].recipe.hash


def test_a_run_folder_that_stands_there_is_measured_and_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,), results = planned(tmp_path, EASE), tmp_path / "results" / "tiny"
    run_job(job, results=results, part="valid")
    (found,) = results.iterdir()
    found.unlink()

    def fail(*_: Any, **__: Any) -> None:
        pytest.fail("trained again")

    monkeypatch.setattr("fuserec.training.sweep.train", fail)
    run_job(job, results=results, part="valid")
    assert found.exists()


@pytest.mark.parametrize("changed", ["split_hash", "dataset_hash"])
def test_the_run_of_other_data_in_the_same_place_is_refused(tmp_path: Path, changed: str) -> None:
    (job,) = planned(tmp_path, EASE)
    run_job(job, results=tmp_path / "results" / "tiny", part="valid")
    hashes: dict[str, Any] = {changed: "0" * 64}
    other = dataclasses.replace(job, prepared=dataclasses.replace(PREPARED, **hashes))
    with pytest.raises(ConfigError, match="expected the run of 'ease' on this data in"):
        run_job(other, results=tmp_path / "results" / "other", part="valid")
    with pytest.raises(DataError, match="give the experiment on this data another name"):
        missing([other], results=tmp_path / "results" / "tiny", part="valid")


def test_a_summary_needs_results_alone_and_comparisons_need_runs(tmp_path: Path) -> None:
    jobs, results = planned(tmp_path, POPULARITY, LIGHTGCN), tmp_path / "results" / "tiny"
    for job in jobs:
        run_job(job, results=results, part="valid")
    options: dict[str, Any] = {"results": results, "part": "valid", "metrics": ["Recall@20"]}
    base, other = summarise(jobs, reference="popularity", **options)
    assert (base.seeds, other.seeds) == ((0,), (4, 5))
    assert base.metrics["Recall@20"].comparison is None
    assert other.metrics["Recall@20"].comparison is not None
    assert other.metrics["Recall@20"].deviation is not None
    jobs[1].folder.rename(tmp_path / "moved")
    _, without = summarise(jobs, reference="popularity", **options)
    assert without.metrics["Recall@20"] == dataclasses.replace(other.metrics["Recall@20"], comparison=None)
    with pytest.raises(ConfigError, match="expected the label of a recipe with results, got 'popular'"):
        summarise(jobs, reference="popular", **options)
    with pytest.raises(ConfigError, match="expected a metric that was measured, got 'Recall@21'"):
        summarise(jobs, **(options | {"metrics": ["Recall@21"]}))


@pytest.mark.parametrize("changed", ["protocol", "protocol_hash"])
def test_results_of_two_protocols_are_not_set_side_by_side_to_compare(tmp_path: Path, changed: str) -> None:
    jobs, results = planned(tmp_path, POPULARITY, EASE), tmp_path / "results" / "tiny"
    for job in jobs:
        run_job(job, results=results, part="valid")
        shutil.rmtree(job.folder)  # no values of users are left: the results alone must tell
    path = result_path(results.parent, results.name, jobs[1].recipe)
    content = read_result(path)
    valid = content["evaluations"]["valid"]
    valid[changed] = {**valid["protocol"], "mask": "none"} if changed == "protocol" else "0" * 64
    write_json(path, content)
    with pytest.raises(ProtocolError, match="expected numbers of one protocol, got"):
        summarise(jobs, results=results, part="valid", metrics=["Recall@20"], reference="popularity")


def test_a_job_goes_on_where_its_training_was_interrupted(tmp_path: Path) -> None:
    class Stops(Silent):
        def note(self, text: str) -> None:
            raise KeyboardInterrupt

    class Told(Silent):
        first = ""

        def note(self, text: str) -> None:
            self.first = self.first or text

    longer = dataclasses.replace(LIGHTGCN, train=TrainConfig(epochs=3, device="cpu"))
    (job,), results = planned(tmp_path, longer, seeds=1), tmp_path / "results" / "tiny"
    with pytest.raises(KeyboardInterrupt):
        run_job(job, results=results, part="valid", progress=Stops())
    assert missing([job], results=results, part="valid") == [job]
    told = Told()
    run_job(job, results=results, part="valid", progress=told)
    assert told.first == "resuming after epoch 1"
    assert missing([job], results=results, part="valid") == []


def test_a_second_sweep_in_a_folder_is_refused(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    with (
        alone(one, one),
        pytest.raises(ConfigError, match=rf"only one to sweep into .*one, but process {os.getpid()} does"),
        alone(other, one),
    ):
        pass
    with alone(other, one):
        pass
    assert [*one.iterdir(), *other.iterdir()] == []
