from __future__ import annotations

import dataclasses
import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from fuserec.errors import ConfigError, DataError
from fuserec.training.config import Recipe, parse_recipe
from fuserec.training.evaluate import Evaluation
from fuserec.training.evaluation_protocol import EvaluationProtocol
from fuserec.training.results import (
    append_to_ledger,
    find_result,
    histogram,
    read_ledger,
    read_result,
    result_path,
    write_result,
)

USERS = 40_000
PROVENANCE: dict[str, Any] = {
    "commit": "abc+changes",
    "machine": {"torch": "2.13.0", "threads": 2},
    "seed": 1,
    "dataset": "/elsewhere/data",
    "dataset_hash": "d" * 64,
    "split": "random",
    "split_hash": "s" * 64,
}
HASHES = {"dataset_hash": "d" * 64, "split_hash": "s" * 64}


def recipe(seed: int = 1) -> Recipe:
    return parse_recipe({"name": "a", "seed": seed, "model": {"name": "popularity"}})


def evaluation(part: str = "test") -> Evaluation:
    protocol = EvaluationProtocol(
        name="standard",
        split_hash="s" * 64,
        part="test" if part == "test" else "valid",
        mask="train+valid" if part == "test" else "train",
    )
    values = torch.rand(USERS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values[: USERS // 2] = 0
    return Evaluation(
        protocol=protocol, users=torch.arange(USERS), values={"Recall@20": values, "NDCG@20": values / 2}
    )


def write(results: Path, **options: Any) -> Path:
    parts = {"valid": evaluation("valid"), "test": evaluation()}
    times = {"fit_seconds": 2.5, "evaluation_seconds": 0.5, "epochs": 3, "epoch_seconds": 0.8}
    return write_result(
        results,
        "baby",
        recipe(),
        provenance=PROVENANCE,
        evaluations=parts,
        times=times,
        **{"headline": "Recall@20", **options},
    )


def test_a_result_says_how_it_was_measured(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert path == tmp_path / "baby" / f"{recipe().hash[:12]}-1.json"
    content = read_result(path)
    assert content["recipe"] == recipe().to_dict()
    assert content["recipe_hash"] == recipe().hash
    assert (content["seed"], content["commit"], content["split_hash"]) == (1, "abc+changes", "s" * 64)
    assert content["times"]["epoch_seconds"] == 0.8
    test = content["evaluations"]["test"]
    assert test["protocol_hash"] == evaluation().protocol.hash
    assert EvaluationProtocol.from_dict(test["protocol"]) == evaluation().protocol
    assert test["metrics"] == evaluation().means()
    assert test["users"] == USERS
    assert test["histogram"]["metric"] == "Recall@20"
    assert test["histogram"]["zero"] == USERS // 2
    assert sum(test["histogram"]["tenths"]) == USERS // 2


def test_a_result_is_small_and_holds_no_path_and_no_value_of_a_user(tmp_path: Path) -> None:
    text = write(tmp_path).read_text()
    assert len(text) < 5000
    assert "elsewhere" not in text
    assert repr(evaluation().values["Recall@20"][-1].item()) not in text


def test_a_finished_result_is_found_and_not_overwritten_by_accident(tmp_path: Path) -> None:
    assert find_result(tmp_path, "baby", recipe(), **HASHES) is None
    path = write(tmp_path)
    found = find_result(tmp_path, "baby", recipe(), **HASHES)
    assert found == read_result(path)
    assert find_result(tmp_path, "baby", recipe(seed=2), **HASHES) is None
    with pytest.raises(DataError, match=r"expected no result yet, but .*-1\.json exists"):
        write(tmp_path)
    assert write(tmp_path, overwrite=True, headline="NDCG@20") == path
    assert read_result(path)["evaluations"]["test"]["histogram"]["metric"] == "NDCG@20"


def test_a_result_on_other_data_is_not_taken_for_this_one(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(DataError, match="was measured on split ssssssssssss, not on tttttttttttt"):
        find_result(tmp_path, "baby", recipe(), **{**HASHES, "split_hash": "t" * 64})
    with pytest.raises(DataError, match="was measured on dataset dddddddddddd, not on eeeeeeeeeeee"):
        # the same pairs with other content, such as features that were shuffled
        find_result(tmp_path, "baby", recipe(), **{**HASHES, "dataset_hash": "e" * 64})


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    path = result_path(tmp_path, "baby", recipe())
    path.parent.mkdir()
    path.write_text("{}")
    with pytest.raises(DataError, match="expected a result of format 1"):
        read_result(path)
    path.write_text("not JSON")
    with pytest.raises(DataError, match="expected JSON in"):
        find_result(tmp_path, "baby", recipe(), **HASHES)


def test_wrong_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected an experiment's name of letters.*got '\.\./up'"):
        result_path(tmp_path, "../up", recipe())
    with pytest.raises(ConfigError, match="expected a headline metric that was measured, got 'Recall@21'"):
        write(tmp_path, headline="Recall@21")
    assert not (tmp_path / "baby").exists()


def test_a_results_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    blocked = tmp_path / "results"
    blocked.write_text("a file")
    with pytest.raises(DataError, match="could not write"):
        write(blocked)
    with pytest.raises(DataError, match="could not append to"):
        append_to_ledger(blocked, evaluation(), commit="abc", recipe_hash="r", seed=0)


def test_a_histogram_counts_zero_apart_and_every_user_once() -> None:
    counts = histogram(torch.tensor([0.0, 0.0, 0.01, 0.1, 0.95, 1.0, 1.0 + 1e-15], dtype=torch.float64))
    assert counts == {"zero": 2, "tenths": [1, 1, 0, 0, 0, 0, 0, 0, 0, 3]}


def test_every_reading_of_the_test_split_is_a_line(tmp_path: Path) -> None:
    assert read_ledger(tmp_path) == []
    append_to_ledger(tmp_path / "results", evaluation(), commit="abc", recipe_hash="r" * 64, seed=0)
    append_to_ledger(tmp_path / "results", evaluation(), commit="abc", recipe_hash="r" * 64, seed=1)
    lines = read_ledger(tmp_path / "results")
    assert [line["seed"] for line in lines] == [0, 1]
    assert lines[0]["commit"] == "abc"
    assert lines[0]["recipe_hash"] == "r" * 64
    assert lines[0]["split_hash"] == "s" * 64
    assert lines[0]["protocol_hash"] == evaluation().protocol.hash
    assert lines[0]["values"] == evaluation().means()


def test_readings_at_the_same_time_do_not_mix(tmp_path: Path) -> None:
    measured = evaluation()
    threads = [
        threading.Thread(
            target=append_to_ledger,
            args=(tmp_path, measured),
            kwargs={"commit": "abc", "recipe_hash": "r", "seed": seed},
        )
        for seed in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(line["seed"] for line in read_ledger(tmp_path)) == list(range(16))


def test_only_readings_of_the_test_split_are_noted(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected an evaluation of the test part, got one of valid"):
        append_to_ledger(tmp_path, evaluation("valid"), commit="abc", recipe_hash="r", seed=0)


def test_a_broken_line_of_the_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "test-ledger.jsonl").write_text(json.dumps({"seed": 0}) + "\n{broken\n")
    with pytest.raises(DataError, match=r"test-ledger\.jsonl:2: expected JSON"):
        read_ledger(tmp_path)


def test_a_measurement_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    broken = dataclasses.replace(evaluation(), values={"Recall@20": torch.full((USERS,), torch.nan)})
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_to_ledger(tmp_path, broken, commit="abc", recipe_hash="r", seed=0)
    assert read_ledger(tmp_path) == []
