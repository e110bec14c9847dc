"""One tiny shop through every command, from raw files to recommendations."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

import fuserec as package
from fuserec.data.build import Sources, build
from fuserec.testing.commands import RunCommand


def test_training_leaves_a_run_and_nothing_on_stdout(fuserec: RunCommand, made: Path, tmp_path: Path) -> None:
    outcome = fuserec(
        "train", made / "lightgcn.toml", "--data", made / "data", "--out", tmp_path / "run", "--seed", 1
    )
    assert (outcome.code, outcome.out) == (0, "")
    assert "epoch 1: loss" in outcome.err
    assert outcome.err.endswith(f"next:  fuserec evaluate {tmp_path / 'run'}\n")
    assert (tmp_path / "run" / "recipe.toml").read_text() == (made / "lightgcn.toml").read_text()
    provenance = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert (provenance["seed"], provenance["dataset"]) == (1, str((made / "data").resolve()))


def test_training_in_json_is_one_document_and_silence(
    fuserec: RunCommand, made: Path, tmp_path: Path
) -> None:
    outcome = fuserec(
        "train", made / "lightgcn.toml", "--data", made / "data", "--out", tmp_path / "run", "--json"
    )
    assert (outcome.code, outcome.err) == (0, "")
    assert set(outcome.json["evaluations"]["valid"]["metrics"]) >= {"Recall@2", "NDCG@20"}


def test_evaluation_of_test_says_so_and_goes_into_the_ledger(
    fuserec: RunCommand, made: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results" / "shop"
    outcome = fuserec("evaluate", made / "runs/popularity", "--part", "test", "--results", results)
    assert outcome.code == 0
    assert "reading the test part" in outcome.err
    assert outcome.out.splitlines()[0].startswith("popularity, test, 24 users")
    (line,) = (tmp_path / "results" / "test-ledger.jsonl").read_text().splitlines()
    assert json.loads(line)["protocol"] == "standard"


def test_evaluation_in_json_carries_its_protocol(fuserec: RunCommand, made: Path) -> None:
    standard = fuserec("evaluate", made / "runs/popularity", "--json").json
    imitated = fuserec("evaluate", made / "runs/popularity", "--compatibility", "mmrec", "--json").json
    assert (standard["evaluation"], imitated["evaluation"]) == ("valid", "valid-mmrec")
    assert standard["users"] == 24
    assert standard["protocol_hash"] != imitated["protocol_hash"]


def test_compare_says_ahead_level_or_behind(fuserec: RunCommand, made: Path) -> None:
    runs = (made / "runs/popularity", made / "runs/lightgcn")
    table = fuserec("compare", *runs)
    assert table.code == 0
    assert "valid, against popularity" in table.out
    reference, other = fuserec("compare", *runs, "--metric", "Recall@2", "--json").json
    assert reference["metrics"]["Recall@2"]["comparison"] is None
    found = other["metrics"]["Recall@2"]["comparison"]
    assert found["verdict"] in {"ahead", "level", "behind"}
    assert found["low"] <= found["difference"] <= found["high"]
    assert (
        f"{found['difference']:+.4f}" in fuserec("compare", *runs, "--metric", "Recall@2", "--markdown").out
    )


def test_compare_on_some_users_is_on_them_alone(fuserec: RunCommand, made: Path, tmp_path: Path) -> None:
    runs = (made / "runs/popularity", made / "runs/lightgcn")
    some = tmp_path / "some.txt"
    some.write_text("u3\nu5\nu8\nu5\n")
    outcome = fuserec("compare", *runs, "--users", some)
    assert (outcome.code, outcome.err) == (0, "")
    assert "valid of 3 users, against popularity" in outcome.out
    _, other = fuserec("compare", *runs, "--users", some, "--metric", "Recall@2", "--json").json
    assert other["metrics"]["Recall@2"]["comparison"]["users"] == 3


def test_compare_names_users_that_are_unknown_and_counts_those_without_anything_held_out(
    fuserec: RunCommand, shop: Path
) -> None:
    # one event is held out of no history
    (shop / "more.csv").write_text((shop / "events.csv").read_text() + "u24,i1,1600000000\n")
    fuserec("data", "build", shop / "more", "--events", shop / "more.csv")
    fuserec("train", shop / "popularity.toml", "--data", shop / "more", "--out", shop / "run")
    some = shop / "some.txt"
    some.write_text("u3\nu24\n")
    outcome = fuserec("compare", shop / "run", "--users", some, "--metric", "Recall@20")
    assert outcome.code == 0
    assert outcome.err == f"1 of the 2 users in {some} have nothing held out in valid and are left out\n"
    assert "valid of 1 users" in outcome.out
    some.write_text("u24\n")
    outcome = fuserec("compare", shop / "run", "--users", some)
    assert (outcome.code, outcome.out) == (1, "")
    assert "expected users with held-out items, got 1 without any" in outcome.err
    some.write_text("u3\nu333\n")
    outcome = fuserec("compare", shop / "run", "--users", some)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith(
        f"error: expected user ids of the dataset, got 1 unknown: 'u333'; take them out of {some}"
    )


def test_evaluate_shows_what_the_model_told_of_its_stages(
    fuserec: RunCommand, made: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(made / "runs/lightgcn", run)
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert "diagnostics" not in fuserec("evaluate", run, "--json").json
    records[1]["diagnostics"] = {"effective_rank/fused": 7.25}
    (run / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    shown = fuserec("evaluate", run).out
    assert "after epoch 2" in shown
    assert "effective_rank/fused" in shown
    assert "7.2500" in shown
    assert fuserec("evaluate", run, "--json").json["diagnostics"] == {"2": {"effective_rank/fused": 7.25}}
    # as older versions wrote it
    del records[1]["diagnostics"]
    (run / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert "after epoch" not in fuserec("evaluate", run).out


def test_compare_refuses_numbers_that_were_measured_otherwise(
    fuserec: RunCommand, made: Path, shop: Path
) -> None:
    fuserec("data", "build", shop / "other", "--events", shop / "events.csv", "--split", "random")
    fuserec("train", shop / "lightgcn.toml", "--data", shop / "other", "--out", shop / "run")
    outcome = fuserec("compare", made / "runs/popularity", shop / "run")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: expected numbers of one protocol")
    assert len(outcome.err.splitlines()) == 1


def test_sweep_runs_only_what_is_missing(fuserec: RunCommand, made: Path, tmp_path: Path) -> None:
    options = [
        *("--data", made / "data", "--results", tmp_path / "results/shop", "--runs", tmp_path / "runs"),
        *("--seeds", 2, "--part", "test", "--set", "evaluation.cutoffs=[2, 20]"),
    ]
    recipes = (made / "popularity.toml", made / "lightgcn.toml")
    assert fuserec("sweep", *recipes, *options, "--table", "--json").json == []
    first = fuserec("sweep", recipes[0], *options)
    assert "[1/1] popularity, seed 0" in first.err
    second = fuserec("sweep", *recipes, *options, "--reference", "popularity")
    assert "popularity, seed" not in second.err
    assert "[2/2] lightgcn, seed 1" in second.err
    third = fuserec("sweep", *recipes, *options, "--reference", "popularity", "--json")
    assert third.err == ""
    base, other = third.json
    assert (base["seeds"], other["seeds"]) == ([0], [0, 1])
    assert other["metrics"]["Recall@20"]["comparison"]["users"] == 24
    assert other["metrics"]["Recall@20"]["deviation"] is not None
    assert len((tmp_path / "results/test-ledger.jsonl").read_text().splitlines()) == 3


def test_sweep_measures_test_from_a_run_that_was_only_validated(
    fuserec: RunCommand, made: Path, tmp_path: Path
) -> None:
    options = ("--data", made / "data", "--results", tmp_path / "results/shop", "--runs", tmp_path / "runs")
    fuserec("sweep", made / "popularity.toml", *options)
    assert not (tmp_path / "results/test-ledger.jsonl").exists()
    written = next((tmp_path / "runs").iterdir()).stat().st_ino
    outcome = fuserec("sweep", made / "popularity.toml", *options, "--part", "test", "--markdown")
    assert outcome.out.splitlines()[2].startswith("| popularity | 1 |")
    assert next((tmp_path / "runs").iterdir()).stat().st_ino == written


def test_recommend_shows_people_titles_and_why(fuserec: RunCommand, made: Path) -> None:
    outcome = fuserec("recommend", made / "runs/lightgcn", "--user", "u2", "-k", 3)
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[0] == "u2: from the trained model"
    assert lines[1].startswith("had lately: Thing ")
    assert lines[3].split() == ["rank", "item_id", "title", "category", "score"]


def test_recommend_in_json_is_a_line_for_each_user(fuserec: RunCommand, made: Path) -> None:
    first, second = fuserec(
        "recommend", made / "runs/lightgcn", "--user", "u2", "--user", "u3", "-k", 2, "--json"
    ).lines
    assert (first["user_id"], second["user_id"]) == ("u2", "u3")
    had = {item["item_id"] for item in first["lately"]}
    assert len(had) == 5
    assert not had & {item["item_id"] for item in first["items"]}
    assert [item["rank"] for item in first["items"]] == [1, 2]
    kept = fuserec(
        "recommend", made / "runs/lightgcn", "--user", "u2", "-k", 13, "--keep-seen", "--json"
    ).json
    assert had <= {item["item_id"] for item in kept["items"]}


def test_a_new_user_is_served_from_a_history_and_told_what_is_unknown(
    fuserec: RunCommand, made: Path
) -> None:
    outcome = fuserec("recommend", made / "runs/lightgcn", "--history", "i0, i99,i2,i99", "-k", 2, "--json")
    assert outcome.err == "warning: unknown items of the history are left out: 'i99'\n"
    assert (outcome.json["source"], outcome.json["unknown_items"]) == ("history", ["i99", "i99"])


def test_an_empty_history_gets_popularity(fuserec: RunCommand, made: Path) -> None:
    outcome = fuserec("recommend", made / "runs/lightgcn", "--history", "")
    assert "no history that says anything: the most popular items" in outcome.out.splitlines()[0]


def test_users_and_items_may_come_from_files(fuserec: RunCommand, made: Path, tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("u1\n\nu0\n")
    (tmp_path / "items.txt").write_text("i12\ni11\n")
    options = (
        "--users",
        tmp_path / "users.txt",
        "--only",
        f"@{tmp_path / 'items.txt'}",
        "--keep-seen",
        "--json",
    )
    lines = fuserec("recommend", made / "runs/lightgcn", *options).lines
    assert [line["user_id"] for line in lines] == ["u1", "u0"]
    assert all({item["item_id"] for item in line["items"]} == {"i11", "i12"} for line in lines)


def test_recommend_filters_before_it_ranks(fuserec: RunCommand, made: Path) -> None:
    options = ("--category", "odd", "--exclude", "i1,i3", "-k", 4, "--keep-seen", "--json")
    shown = fuserec("recommend", made / "runs/lightgcn", "--user", "u2", *options).json["items"]
    assert {item["item_id"] for item in shown} == {"i5", "i7", "i9", "i11"}
    outcome = fuserec("recommend", made / "runs/lightgcn", "--user", "u2", "--category", "ode")
    assert outcome.err == "error: expected a category of the dataset, got 'ode'; did you mean 'odd'?\n"


def test_similar_shows_people_titles_and_machines_json(fuserec: RunCommand, made: Path) -> None:
    outcome = fuserec("similar", made / "runs/lightgcn", "i2", "-k", 3, "--category", "even")
    assert outcome.code == 0
    assert outcome.out.splitlines()[0] == "similar to i2, Thing 2"
    assert outcome.out.splitlines()[2].split() == ["rank", "item_id", "title", "category", "score"]
    found = fuserec("similar", made / "runs/lightgcn", "i2", "-k", 3, "--category", "even", "--json").json
    assert found["item"] == {"item_id": "i2", "title": "Thing 2", "category": "even"}
    assert list(found["items"][0]) == ["rank", "item_id", "score", "title", "category"]
    expected = package.load(made / "runs/lightgcn").similar("i2", k=3, categories=["even"])
    assert [item["item_id"] for item in found["items"]] == expected["item_id"].to_list()
    none = fuserec("similar", made / "runs/lightgcn", "i2", "--only", "i2")
    assert none.out == "similar to i2, Thing 2\nnothing is left to show\n"


def test_similar_says_what_cannot_be_asked(fuserec: RunCommand, made: Path) -> None:
    popular = fuserec("similar", made / "runs/popularity", "i2")
    assert (popular.code, popular.out) == (1, "")
    assert popular.err.startswith("error: expected a model that relates items to each other")
    unknown = fuserec("similar", made / "runs/lightgcn", "i-2")
    assert unknown.err.startswith("error: expected item ids of the dataset, got 1 unknown: 'i-2'; ask")
    assert unknown.err.endswith("did you mean 'i2'?\n")


def test_all_users_go_into_a_file_as_from_python(fuserec: RunCommand, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.parquet"
    outcome = fuserec("recommend", made / "runs/lightgcn", "--all-users", "-k", 4, "--out", out)
    assert (outcome.code, outcome.out) == (0, "")
    assert pl.read_parquet(out).equals(package.load(made / "runs/lightgcn").recommend(k=4))


def test_python_fits_loads_and_recommends(made: Path, tmp_path: Path) -> None:
    dataset = package.Dataset.open(made / "data")
    kept = package.fit(made / "lightgcn.toml", dataset, out=tmp_path / "run")
    assert (tmp_path / "run" / "recipe.toml").read_text() == (made / "lightgcn.toml").read_text()
    thrown_away = package.fit(made / "lightgcn.toml", dataset)
    loaded = package.load(tmp_path / "run", dataset)
    expected = loaded.recommend(["u2"], k=3)
    assert expected.columns == ["user_id", "item_id", "score", "rank", "source", "title"]
    assert kept.recommend(["u2"], k=3).equals(expected)
    assert thrown_away.recommend(["u2"], k=3).equals(expected)
    other = package.fit(made / "lightgcn.toml", dataset, seed=5)
    assert not other.recommend(["u2"], k=3)["score"].equals(expected["score"])


def test_python_refuses_another_dataset(made: Path, shop: Path) -> None:
    events = (shop / "events.csv").read_text().splitlines()
    (shop / "events.csv").write_text("\n".join(events[:-1]) + "\n")
    other = build(shop / "other", Sources(events=shop / "events.csv"))
    with pytest.raises(package.FuserecError, match=r"expected the dataset that .*lightgcn was trained on"):
        package.load(made / "runs/lightgcn", other)


def test_withdrawing_an_item_hides_it_and_changes_no_number(
    fuserec: RunCommand, made: Path, shop: Path
) -> None:
    header, *rows = (shop / "items.csv").read_text().splitlines()
    marked = [f"{row},{'no' if row.startswith(('i2,', 'i4,')) else 'yes'}" for row in rows]
    (shop / "items.csv").write_text("\n".join([f"{header},available", *marked]) + "\n")
    files = ("--events", shop / "events.csv", "--items", shop / "items.csv")
    assert fuserec("data", "build", shop / "marked", *files).code == 0
    trained = fuserec(
        *("train", shop / "lightgcn.toml", "--data", shop / "marked", "--out", shop / "run"),
        *("--set", "evaluation.cutoffs=[2, 20]"),
    )
    assert trained.code == 0
    for part in ("valid", "test"):
        before = fuserec("evaluate", made / "runs/lightgcn", "--part", part, "--json").json
        after = fuserec("evaluate", shop / "run", "--part", part, "--json").json
        assert after["metrics"] == before["metrics"]
    everything = ("--keep-seen", "-k", 13, "--json")
    shown = fuserec("recommend", shop / "run", "--user", "u2", *everything).json
    before = fuserec("recommend", made / "runs/lightgcn", "--user", "u2", *everything).json
    kept = [item["item_id"] for item in before["items"] if item["item_id"] not in {"i2", "i4"}]
    assert [item["item_id"] for item in shown["items"]] == kept
    assert shown["lately"] == before["lately"]
    assert {"i2", "i4"} & {item["item_id"] for item in shown["lately"]}
    like = fuserec("similar", shop / "run", "i2", "-k", 13, "--json").json["items"]
    assert not {"i2", "i4"} & {item["item_id"] for item in like}
    assert len(like) == 11
