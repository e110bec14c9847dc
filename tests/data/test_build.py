from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.data.build import Sources, build, check
from fuserec.data.dataset import Dataset
from fuserec.data.ids import rows_of, series_of
from fuserec.data.schema import BuildOptions
from fuserec.errors import ConfigError, DataError

Write = Callable[[str, str | bytes], Path]

EVENTS = """user,item,time,part
u2,20,3,train
u1,10,1,train
u1,30,2,val
u1,20,3,test
u2,30,1,train
u2,10,2,test
"""
ITEMS = "asin,title,genre\n30,Cup,home\n10,Ball,toy\n20,,toy\n40,Kite,toy\n"


@pytest.fixture
def sources(write: Write, tmp_path: Path) -> Sources:
    """Two users, four items of which one is cold, a feature matrix and a graph."""
    np.save(tmp_path / "image.npy", np.array([[1, 0], [0, 1], [0, 0], [2, 2]], dtype=np.float16))
    neighbours = np.array([[1, 2], [0, -1], [3, 0], [2, 1]])
    np.savez(tmp_path / "image.npz", neighbours=neighbours, cosine=np.full((4, 2), 0.5))
    np.savez(tmp_path / "text.npz", features=np.array([[1.0], [2.0]]), ids=np.array([40, 10]))
    return Sources(
        events=write("events.csv", EVENTS),
        items=write("items.csv", ITEMS),
        features={"image": tmp_path / "image.npy", "text": tmp_path / "text.npz"},
        graphs={"image": tmp_path / "image.npz"},
    )


OPTIONS = BuildOptions(split_columns=("part",), splits=("column", "leave-one-out"))


def test_a_folder_holds_all_that_its_manifest_names(sources: Sources, tmp_path: Path) -> None:
    dataset = build(tmp_path / "data", sources, OPTIONS)
    files = {path.relative_to(dataset.path).as_posix() for path in dataset.path.rglob("*") if path.is_file()}
    assert files == {*dataset.manifest.files, "manifest.json"}
    assert files == {
        "manifest.json",
        "interactions.parquet",
        "users.parquet",
        "items.parquet",
        "splits/part.parquet",
        "splits/leave-one-out.parquet",
        "features/image.npy",
        "features/image.present.npy",
        "features/text.npy",
        "features/text.present.npy",
        "graphs/image.npz",
        "summary.md",
    }
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_the_manifest_counts_what_is_there(sources: Sources, tmp_path: Path) -> None:
    manifest = build(tmp_path / "data", sources, OPTIONS).manifest
    counts = manifest.counts
    assert (counts.users, counts.items, counts.interactions, counts.items_without_events) == (2, 4, 6, 1)
    assert counts.density == 6 / 8
    assert counts.history_quantiles["50%"] == 3
    assert (counts.first_time, counts.last_time) == (1, 3)
    part = manifest.splits["part"]
    assert (part.kind, part.train, part.valid, part.test, part.cold_test) == ("column", 3, 1, 2, 0)
    assert part.tied_users is None
    last = manifest.splits["leave-one-out"]
    assert (last.train, last.valid, last.test, last.tied_users) == (2, 2, 2, 0)
    assert last.cold_test == 2
    assert manifest.modalities["image"].model_dump() == {
        "features": {"width": 2, "dtype": "float16", "present": 3},
        "graph": {"neighbours": 2, "present": 4},
    }
    assert manifest.modalities["text"].features is not None
    assert manifest.modalities["text"].features.present == 2
    assert manifest.columns == {
        "events": {"user": "user", "item": "item", "time": "time"},
        "items": {"item": "asin", "title": "title", "category": "genre"},
    }
    assert manifest.sources["features/image"].name == "image.npy"


def test_rows_and_original_ids_belong_together(sources: Sources, tmp_path: Path) -> None:
    dataset = build(tmp_path / "data", sources, OPTIONS)
    assert dataset.user_ids.to_list() == ["u1", "u2"]
    assert dataset.items.to_dict(as_series=False) == {
        "row": [0, 1, 2, 3],
        "item_id": [30, 10, 20, 40],
        "title": ["Cup", "Ball", None, "Kite"],
        "category": ["home", "toy", "toy", "toy"],
    }
    rows = dataset.interactions()
    assert rows["line"].to_list() == [3, 6, 4, 7, 2, 5]
    assert dataset.item_ids.gather(rows["item"]).to_list() == [10, 30, 30, 10, 20, 20]


def test_the_same_files_and_options_give_the_same_bytes(sources: Sources, tmp_path: Path) -> None:
    options = BuildOptions(splits=("random",), seed=3)
    first = build(tmp_path / "a", sources, options)
    second = build(tmp_path / "b", sources, options)
    assert first.manifest_hash == second.manifest_hash
    for name in first.manifest.files:
        assert (first.path / name).read_bytes() == (second.path / name).read_bytes()


def test_another_seed_is_another_dataset(sources: Sources, tmp_path: Path) -> None:
    first = build(tmp_path / "a", sources, BuildOptions(splits=("random",), seed=0))
    second = build(tmp_path / "b", sources, BuildOptions(splits=("random",), seed=1))
    assert first.manifest_hash != second.manifest_hash


def test_rejected_rows_go_to_a_file(write: Write, tmp_path: Path) -> None:
    events = write("events.csv", "user,item\na,1\n,2\na,1\n")
    dataset = build(tmp_path / "data", Sources(events=events))
    assert pl.read_parquet(dataset.path / "rejected.parquet").to_dicts() == [
        {"line": 3, "reason": "a missing user", "user": None, "item": "2"},
        {"line": 4, "reason": "a duplicate of an earlier event", "user": "a", "item": "1"},
    ]


def test_check_finds_what_build_finds_and_writes_nothing(sources: Sources, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    manifest = check(sources, OPTIONS)
    assert sorted(tmp_path.rglob("*")) == before
    built = build(tmp_path / "data", sources, OPTIONS).manifest
    assert manifest == built.model_copy(update={"files": {}})


def test_strict_refuses_and_leaves_nothing(write: Write, tmp_path: Path) -> None:
    events = write("events.csv", "user,item\na,1\n,2\n")
    with pytest.raises(DataError, match="--strict refuses: 1 event left out: a missing user"):
        build(tmp_path / "deep" / "data", Sources(events=events), BuildOptions(strict=True))
    assert [path.name for path in tmp_path.iterdir()] == ["events.csv"]


def test_a_split_is_found_in_the_data_or_is_leave_one_out(write: Write) -> None:
    with_column = check(Sources(events=write("a.csv", "user,item,split\na,1,train\na,2,test\n")))
    assert {name: split.kind for name, split in with_column.splits.items()} == {"split": "column"}
    without = check(Sources(events=write("b.csv", "user,item\na,1\na,2\n")))
    assert list(without.splits) == ["leave-one-out"]
    assert "no times: the order of the input decides" in without.report.findings[0].message


def test_ties_in_time_are_told(write: Write) -> None:
    manifest = check(
        Sources(events=write("e.csv", "user,item,time\na,1,5\na,2,5\na,3,5\nb,1,1\nb,2,2\nb,3,3\n"))
    )
    assert manifest.splits["leave-one-out"].tied_users == 1
    assert [finding.line() for finding in manifest.report.findings] == [
        "1 user with a tie in time at the held-out events of leave-one-out: the order of the input decides which are last"
    ]


def test_a_split_without_training_events_is_refused(write: Write) -> None:
    events = write("e.csv", "user,item,split\na,1,test\n")
    with pytest.raises(
        DataError, match="expected at least one training event in the split 'split', got none"
    ):
        check(Sources(events=events))


def test_a_split_column_must_be_able_to_name_a_file(write: Write) -> None:
    events = write("e.csv", "user,item,my split\na,1,train\n")
    with pytest.raises(ConfigError, match=r"expected the name of a split to be a letter .*, got 'my split'"):
        check(Sources(events=events), BuildOptions(split_columns=("my split",)))


@pytest.mark.parametrize("name", ["../image", "", "a b", "1st", "x" * 65])
def test_a_modality_must_be_able_to_name_a_file(name: str, sources: Sources) -> None:
    with pytest.raises(ConfigError, match="expected the name of a modality to be a letter"):
        check(Sources(events=sources.events, features={name: sources.events}))


def test_overwrite_replaces_a_dataset_and_nothing_else(sources: Sources, tmp_path: Path) -> None:
    build(tmp_path / "data", sources, OPTIONS)
    with pytest.raises(DataError, match=r"expected a new folder, but .*data exists"):
        build(tmp_path / "data", sources, OPTIONS)
    again = build(tmp_path / "data", sources, BuildOptions(splits=("random",)), overwrite=True)
    assert again.splits == ("random",)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("do not lose")
    with pytest.raises(
        DataError, match=r"expected a dataset to overwrite, but .*precious is none; choose another place"
    ):
        build(tmp_path / "precious", sources, OPTIONS, overwrite=True)
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "do not lose"


def test_overwrite_does_not_take_along_what_lies_in_a_dataset(sources: Sources, tmp_path: Path) -> None:
    build(tmp_path / "data", sources, OPTIONS)
    run = tmp_path / "data" / "runs" / "a"
    run.mkdir(parents=True)
    (run / "config.json").write_text("do not lose")
    with pytest.raises(
        DataError, match=r"nothing but a dataset to overwrite, but it holds .*/runs/a/config.json; move that"
    ):
        build(tmp_path / "data", sources, OPTIONS, overwrite=True)
    assert (run / "config.json").read_text() == "do not lose"


def test_overwrite_does_not_take_the_raw_files_along(sources: Sources, tmp_path: Path) -> None:
    build(tmp_path / "data", sources, OPTIONS)
    inside = tmp_path / "data" / "events.csv"
    inside.write_text(EVENTS)
    with pytest.raises(
        DataError, match=r"expected raw files outside the folder to overwrite, but .* lies in it"
    ):
        build(tmp_path / "data", Sources(events=inside), overwrite=True)
    assert inside.exists()


def test_a_name_that_no_disk_can_hold_is_told(sources: Sources, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot write .*: File name too long"):
        build(tmp_path / ("x" * 300), sources, OPTIONS)
    with pytest.raises(DataError, match=r"cannot read .*: File name too long"):
        check(Sources(events=tmp_path / ("x" * 300 + ".csv")))


def test_a_failed_overwrite_keeps_the_old_dataset(sources: Sources, tmp_path: Path) -> None:
    first = build(tmp_path / "data", sources, OPTIONS)
    broken = Sources(events=sources.events, features={"image": tmp_path / "missing.npy"})
    with pytest.raises(DataError, match=r"expected the file .*missing.npy, but it does not exist"):
        build(tmp_path / "data", broken, overwrite=True)
    assert Dataset.open(tmp_path / "data").manifest_hash == first.manifest_hash


def test_a_dataset_made_by_a_program_says_so(sources: Sources, tmp_path: Path) -> None:
    dataset = build(tmp_path / "data", sources, BuildOptions(synthetic=True))
    assert dataset.manifest.synthetic
    assert "Synthetic: made by a program" in (dataset.path / "summary.md").read_text()


def test_the_manifest_is_plain_json_without_paths_of_this_machine(sources: Sources, tmp_path: Path) -> None:
    dataset = build(tmp_path / "data", sources, OPTIONS)
    text = (dataset.path / "manifest.json").read_text()
    assert json.loads(text)["format"] == "fuserec dataset"
    assert str(tmp_path) not in text


identifiers = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=8),
    st.lists(
        st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=6), min_size=1, max_size=8
    ),
    st.lists(st.from_regex(r"0{0,2}[0-9]{1,21}", fullmatch=True), min_size=1, max_size=8),
)


@settings(max_examples=60, deadline=None)
@given(users=identifiers, items=identifiers, kind=st.sampled_from(["csv", "tsv", "parquet"]), data=st.data())
def test_ids_go_through_a_build_unchanged(
    users: list[Any], items: list[Any], kind: str, data: st.DataObject
) -> None:
    events = data.draw(
        st.lists(
            st.tuples(st.sampled_from(users), st.sampled_from(items)), min_size=1, max_size=12, unique=True
        )
    )
    frame = pl.DataFrame({"user": [user for user, _ in events], "item": [item for _, item in events]})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"events.{kind}"
        if kind == "parquet":
            frame.write_parquet(path)
        else:
            frame.write_csv(path, separator="," if kind == "csv" else "\t")
        dataset = build(Path(folder) / "data", Sources(events=path))
        rows = dataset.interactions()
        back = list(
            zip(dataset.user_ids.gather(rows["user"]), dataset.item_ids.gather(rows["item"]), strict=True)
        )
        asked = rows_of(series_of([user for user, _ in events]), dataset.user_ids).to_list()
        assert asked == rows["user"].to_list()
    if kind == "parquet":
        assert back == events
    assert [(str(user), str(item)) for user, item in back] == [
        (str(user), str(item)) for user, item in events
    ]
