"""A model that reads histories in their order, from raw files to recommendations."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import fuserec as package
from fuserec.cli import main
from fuserec.testing.commands import RunCommand
from fuserec.training.checkpoint import Run

SASREC = """
name = "sasrec"
[model]
name = "sasrec"
dim = 8
num_layers = 1
heads = 1
dropout = 0.1
[train]
epochs = 12
batch_size = 24
learning_rate = 0.02
weight_decay = 0.01
warmup_steps = 5
[loss_weights]
softmax = 1.0
[evaluation]
cutoffs = [2, 20]
history = "train+valid"
"""


@pytest.fixture(scope="module")
def run(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the tiny shop, where everybody goes on to the item two numbers further."""
    folder = tmp_path_factory.mktemp("sequences")
    (folder / "sasrec.toml").write_text(SASREC)
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "train",
                str(folder / "sasrec.toml"),
                "--data",
                str(made / "data"),
                "--out",
                str(folder / "run"),
                "--quiet",
            ]
        )
    assert ended.value.code == 0
    return folder / "run"


def test_it_learns_what_follows(fuserec: RunCommand, run: Path) -> None:
    # of 7 items that a user has not had, two hits at random would be .29
    measured = fuserec("evaluate", run, "--part", "test", "--json").json
    assert measured["metrics"]["HitRate@2"] > 0.6
    assert measured["protocol"]["history"] == "train+valid"
    found = fuserec("recommend", run, "--history", "i2,i4,i6", "-k", 1, "--json").json
    assert [item["item_id"] for item in found["items"]] == ["i8"]


def test_numbers_told_otherwise_are_not_compared(fuserec: RunCommand, made: Path, run: Path) -> None:
    for one in (made / "runs/popularity", run):
        assert fuserec("evaluate", one, "--part", "test", "--json").code == 0
    refused = fuserec("compare", made / "runs/popularity", run, "--part", "test")
    assert refused.code == 1
    assert "which differ in history 'train+valid' and 'train'" in refused.err
    assert fuserec("compare", made / "runs/popularity", run).code == 0, "at validation both are told the same"


def test_a_history_is_read_in_its_order_and_an_empty_one_from_the_start(
    fuserec: RunCommand, run: Path
) -> None:
    one = fuserec("recommend", run, "--history", "i2,i4", "-k", 12, "--keep-seen", "--json").json
    other = fuserec("recommend", run, "--history", "i4,i2", "-k", 12, "--keep-seen", "--json").json
    assert one["source"] == "history"
    assert [item["item_id"] for item in one["lately"]] == ["i4", "i2"]
    assert one["items"] != other["items"]
    empty = fuserec("recommend", run, "--history", "", "-k", 2)
    assert empty.out.splitlines()[0].endswith(": no history that says anything: what people begin with")
    # nobody ever had i12
    cold = fuserec("recommend", run, "--history", "i12", "--json").json
    assert (cold["source"], cold["unknown_items"]) == ("start", [])


def test_known_users_are_served_by_all_they_had_oldest_first(fuserec: RunCommand, run: Path) -> None:
    known = fuserec("recommend", run, "--user", "u2", "-k", 3, "--json").json
    assert known["source"] == "model"
    had = [item["item_id"] for item in known["lately"]]
    assert had == ["i10", "i8", "i6", "i4", "i2"]
    given = fuserec("recommend", run, "--history", ",".join(reversed(had)), "-k", 3, "--json").json
    assert [item["item_id"] for item in given["items"]] == [item["item_id"] for item in known["items"]]


def test_all_users_go_into_a_file(fuserec: RunCommand, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.parquet"
    assert fuserec("recommend", run, "--all-users", "-k", 2, "--out", out).code == 0
    written = pl.read_parquet(out)
    assert written.height == 48
    assert written.equals(package.load(run).recommend(k=2))


def test_similar_is_the_cosine_of_items(fuserec: RunCommand, run: Path) -> None:
    found = fuserec("similar", run, "i2", "-k", 11, "--json").json["items"]
    scores = [item["score"] for item in found]
    assert scores == sorted(scores, reverse=True)
    assert all(-1.0001 <= score <= 1.0001 for score in scores)
    unknown = fuserec("similar", run, "i12")
    assert unknown.code == 1
    assert "expected an item that the model knows something of" in unknown.err


def test_new_items_are_refused_by_a_model_without_content(
    fuserec: RunCommand, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "new.csv").write_text("item,title,category\nn1,Thing,even\n")
    refused = fuserec("items", "add", run, tmp_path / "new.csv")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith(
        "error: expected a model that places new items by their content, got 'sasrec', which knows items by their "
        "events only; train one that uses content"
    )


def test_new_users_lose_nothing_to_trained_ones_since_both_are_served_by_history(
    fuserec: RunCommand, run: Path
) -> None:
    told = fuserec("fold-in", run, "--share", "0.4", "--part", "test", "--metric", "HitRate@2", "--json").json
    assert told["against_trained"]["HitRate@2"]["folded"]["difference"] == 0.0
    assert told["evaluations"]["new"]["protocol"]["history"] == "train+valid"


def test_the_run_holds_plain_tensors_alone(run: Path) -> None:
    scorer = Run.open(run).scorer()
    assert scorer.kind == "sequence"
    assert {"item", "description", "encoder.start"} <= scorer.tensors().keys()
