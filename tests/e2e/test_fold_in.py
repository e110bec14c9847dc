from __future__ import annotations

import json
from pathlib import Path

import pytest

from fuserec.testing.commands import RunCommand


@pytest.mark.parametrize("model", ["lightgcn", "popularity"])
def test_three_ways_of_being_served_are_told(fuserec: RunCommand, made: Path, model: str) -> None:
    done = fuserec("fold-in", made / "runs" / model, "--share", "0.4", "--metric", "Recall@2", "--quiet")
    assert done.code == 0, done.err
    assert [name in done.out for name in ("trained", "folded", "new")] == [True] * 3
    assert "reading the test part" not in done.err


def test_the_outcome_is_kept_once_and_readings_of_test_are_noted(
    fuserec: RunCommand, made: Path, tmp_path: Path
) -> None:
    asked = ["fold-in", made / "runs" / "popularity", "--share", "0.4", "--part", "test"]
    asked += ["--metric", "Recall@2", "--results", tmp_path / "results" / "shop", "--json"]
    done = fuserec(*asked)
    assert done.code == 0, done.err
    assert "reading the test part" in done.err
    (kept,) = (tmp_path / "results" / "shop").glob("fold-in-*.json")
    outcome = json.loads(kept.read_text())
    assert outcome["fold_in"] == {name: value for name, value in done.json.items() if name != "run"}
    assert (outcome["fold_in"]["share"], outcome["fold_in"]["draw"]) == (0.4, 0)
    assert outcome["fold_in"]["against_trained"]["Recall@2"]["folded"]["difference"] == 0.0
    lines = (tmp_path / "results" / "test-ledger.jsonl").read_text().splitlines()
    assert [json.loads(line)["note"] for line in lines] == [
        f"fold-in: {way}, 10 users left out (share 0.4, draw 0)" for way in ("trained", "folded", "new")
    ]
    again = fuserec(*asked)
    assert again.code == 1
    assert "expected no outcome yet" in again.err


def test_a_place_that_cannot_be_written_is_told_in_one_line(
    fuserec: RunCommand, made: Path, tmp_path: Path
) -> None:
    (tmp_path / "shop").write_text("a file where a folder should be")
    done = fuserec("fold-in", made / "runs" / "popularity", "--share", "0.4", "--results", tmp_path / "shop")
    assert done.code == 1
    assert "error: could not write" in done.err
    assert "Traceback" not in done.err


def test_a_share_that_leaves_nobody_is_refused(fuserec: RunCommand, made: Path) -> None:
    done = fuserec("fold-in", made / "runs" / "popularity", "--share", "1.5")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: expected a share that leaves somebody")
