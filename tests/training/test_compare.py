from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch

from fuserec.errors import CheckpointError, ConfigError, ProtocolError
from fuserec.files import write_json
from fuserec.testing.corpora import tiny_prepared
from fuserec.training.checkpoint import Run
from fuserec.training.compare import compare_systems, group_runs, of_users, spread
from fuserec.training.config import parse_recipe
from fuserec.training.evaluate import evaluate
from fuserec.training.run import evaluate_run, train

PREPARED = tiny_prepared()


def recipe(model: str, seed: int = 0, **options: object) -> object:
    return parse_recipe({"name": model, "seed": seed, "model": {"name": model, **options}})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Popularity with two seeds, EASE with one."""
    folder = tmp_path_factory.mktemp("runs")
    made = {}
    for name, model, seed in (("p0", "popularity", 0), ("p1", "popularity", 1), ("e0", "ease", 0)):
        made[name] = train(recipe(model, seed), PREPARED, folder / name)  # type: ignore[arg-type]
    return made


def test_a_stored_evaluation_is_the_one_that_was_made(runs: dict[str, Run]) -> None:
    stored = runs["e0"].evaluation("valid")
    made = evaluate(runs["e0"].scorer(), PREPARED, part="valid", cutoffs=runs["e0"].recipe.evaluation.cutoffs)
    assert stored.protocol == made.protocol
    assert torch.equal(stored.users, made.users)
    assert all(torch.equal(stored.values[name], made.values[name]) for name in made.values)
    assert set(stored.values) == set(made.values)


def test_an_evaluation_that_was_not_made_is_an_error(runs: dict[str, Run]) -> None:
    with pytest.raises(CheckpointError, match="has no evaluation 'test'"):
        runs["e0"].evaluation("test")


def test_numbers_whose_hash_is_not_their_protocols_are_refused(runs: dict[str, Run], tmp_path: Path) -> None:
    shutil.copytree(runs["e0"].path, tmp_path / "older")
    older = Run.open(tmp_path / "older")
    # as an older fuserec leaves it that measured something else under the same words
    write_json(older.path / "metrics.json", {"valid": {**older.metrics["valid"], "protocol_hash": "0" * 64}})
    with pytest.raises(
        ProtocolError, match=r"'valid' in .*older to carry the hash \w{12} .*, got 000000000000;"
    ):
        compare_systems([runs["p0"], older], "valid", ["Recall@5"])


def test_seeds_of_a_recipe_are_one_group_in_the_order_given(runs: dict[str, Run]) -> None:
    groups = group_runs([runs["p1"], runs["e0"], runs["p0"]])
    assert [[run.path.name for run in group] for group in groups.values()] == [["p0", "p1"], ["e0"]]


def test_a_seed_that_comes_twice_is_an_error(runs: dict[str, Run]) -> None:
    with pytest.raises(
        ConfigError, match=r"expected each recipe once with a seed, got .*p0 and .*p0 with seed 0"
    ):
        group_runs([runs["p0"], runs["e0"], runs["p0"]])


def test_the_first_system_is_the_reference(runs: dict[str, Run]) -> None:
    first, second = compare_systems([runs["p0"], runs["e0"], runs["p1"]], "valid", ["Recall@5"])
    assert (first.name, first.seeds, second.name, second.seeds) == ("popularity", (0, 1), "ease", (0,))
    assert first.metrics["Recall@5"].comparison is None
    found = second.metrics["Recall@5"].comparison
    assert found is not None
    assert found.difference == pytest.approx(second.metrics["Recall@5"].mean - first.metrics["Recall@5"].mean)


def test_different_protocols_are_refused(runs: dict[str, Run], tmp_path: Path) -> None:
    other = dataclasses.replace(PREPARED, split_hash="0" * 64)
    elsewhere = train(recipe("ease", 0), other, tmp_path / "other")  # type: ignore[arg-type]
    with pytest.raises(ProtocolError, match="which differ in split_hash"):
        compare_systems([runs["p0"], elsewhere], "valid", ["Recall@5"])


def test_parts_are_compared_only_with_themselves(runs: dict[str, Run]) -> None:
    evaluate_run(runs["p1"], PREPARED, part="test")
    (system,) = compare_systems([runs["p1"]], "test", ["NDCG@20"])
    assert system.metrics["NDCG@20"].mean == pytest.approx(runs["p1"].metrics["test"]["metrics"]["NDCG@20"])


def test_on_some_users_means_and_intervals_are_those_of_these_users(runs: dict[str, Run]) -> None:
    some = torch.tensor([31, 2, 17, 5])
    all_runs = [runs["p0"], runs["e0"], runs["p1"]]
    first, second = compare_systems(all_runs, "valid", ["NDCG@20"], users=some)
    stored = {name: run.evaluation("valid") for name, run in runs.items()}
    rows = [2, 5, 17, 31]  # every user has something held out here
    expected = {name: one.values["NDCG@20"][rows].mean().item() for name, one in stored.items()}
    assert first.metrics["NDCG@20"].mean == pytest.approx(expected["p0"])
    assert second.metrics["NDCG@20"].mean == pytest.approx(expected["e0"])
    found = second.metrics["NDCG@20"].comparison
    assert found is not None
    assert found.users == 4
    assert found.difference == pytest.approx(expected["e0"] - (expected["p0"] + expected["p1"]) / 2)


def test_users_who_were_not_measured_are_left_out_and_none_is_an_error(runs: dict[str, Run]) -> None:
    whole = runs["e0"].evaluation("valid")
    assert of_users(whole, torch.tensor([3, 1000])).users.tolist() == [3]
    assert torch.equal(of_users(whole, whole.users.flip(0)).users, whole.users)
    with pytest.raises(
        ConfigError, match=r"^expected users with held-out items, got 2 without any; give others"
    ):
        compare_systems([runs["e0"]], "valid", ["NDCG@20"], users=torch.tensor([1000, 1001]))


def test_a_spread_by_hand() -> None:
    both = spread([1.0, 3.0])
    assert both.mean == 2.0
    assert both.deviation == pytest.approx(2**0.5)
    assert spread([4.0]).deviation is None
