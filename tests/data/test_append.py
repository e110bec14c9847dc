from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fuserec.data import BuildOptions, Dataset
from fuserec.data.append import append_events
from fuserec.data.build import Sources, build
from fuserec.errors import ConfigError, DataError

Write = Callable[[str, str | bytes], Path]

EVENTS = """user,item,time,rating,part,shop
m,30,5,4,train,x
c,10,1,1,train,y
c,30,2,2,valid,x
c,20,3,2,test,x
m,10,6,3,train,x
"""
ITEMS = "id,title,genre\n30,Cup,home\n10,Ball,toy\n20,Rope,toy\n"
MORE = """user,item,time,rating,part,shop
a,20,7,5,train,z
c,20,8,5,train,z
m,50,9,1,test,z
z,30,10,2,train,z
m,20,9,,valid,z
"""
MORE_ITEMS = "id,title,genre,maker\n50,Kite,toy,Ito\n10,Big ball,toy,Ito\n"


def make(place: Path, options: BuildOptions, *, catalogue: bool = True) -> Dataset:
    raw = place / "raw"
    raw.mkdir()
    (raw / "events.csv").write_text(EVENTS)
    if not catalogue:
        return build(place / "old", Sources(events=raw / "events.csv"), options)
    (raw / "items.csv").write_text(ITEMS)
    np.save(raw / "image.npy", np.array([[1, 0], [0, 1], [0, 0]], dtype=np.float16))
    np.savez(raw / "image.npz", neighbours=np.array([[1], [2], [0]]), weights=np.ones((3, 1)))
    sources = Sources(
        events=raw / "events.csv",
        items=raw / "items.csv",
        features={"image": raw / "image.npy"},
        graphs={"image": raw / "image.npz"},
    )
    return build(place / "old", sources, options)


BY_COLUMN = BuildOptions(split_columns=("part",))


@pytest.fixture
def old(tmp_path: Path) -> Dataset:
    """Users c and m, items 30, 10 and 20."""
    return make(tmp_path, BY_COLUMN)


@pytest.fixture
def new(old: Dataset, write: Write, tmp_path: Path) -> Dataset:
    more, items = write("more.csv", MORE), write("more_items.csv", MORE_ITEMS)
    return append_events(old, tmp_path / "new", more, items=items)


def pairs(dataset: Dataset, part: str, split: str | None = None) -> list[tuple[object, object]]:
    """Pairs of a part in original ids, in the order of the interactions."""
    frame = dataset.interactions().filter(dataset.parts(split) == part)
    users, items = dataset.user_ids.gather(frame["user"]), dataset.item_ids.gather(frame["item"])
    return list(zip(users.to_list(), items.to_list(), strict=True))


def test_old_users_and_items_keep_their_rows_and_new_ones_follow(new: Dataset) -> None:
    assert new.user_ids.to_list() == ["c", "m", "a", "z"]
    assert new.item_ids.to_list() == [30, 10, 20, 50]
    assert new.users["row"].to_list() == new.items["row"].to_list() == [0, 1, 2, 3]
    assert new.items["title"].to_list() == ["Cup", "Ball", "Rope", "Kite"]
    assert new.items["maker"].to_list() == [None, None, None, "Ito"]
    assert Dataset.open(new.path).manifest_hash == new.manifest_hash


def test_new_events_are_added_in_the_order_of_time(new: Dataset) -> None:
    frame = new.interactions()
    assert frame["time"].to_list() == [1, 2, 3, 5, 6, 7, 9, 9, 10]
    assert frame["user"].to_list() == [0, 0, 0, 1, 1, 2, 1, 1, 3]
    assert frame["item"].to_list() == [1, 0, 2, 0, 1, 2, 3, 2, 0]
    assert frame["rating"].to_list() == [1, 2, 2, 4, 3, 5, 1, None, 2]
    assert frame["line"].to_list() == [3, 4, 5, 2, 6, 2, 4, 6, 5]
    assert frame["shop"].to_list() == ["y", "x", "x", "x", "x", "z", "z", "z", "z"]
    assert frame.columns == ["user", "item", "time", "rating", "line", "shop"]


def test_the_parts_of_a_column_split_stay_and_new_ones_come_from_the_new_file(new: Dataset) -> None:
    assert pairs(new, "train") == [("c", 10), ("m", 30), ("m", 10), ("a", 20), ("z", 30)]
    assert pairs(new, "valid") == [("c", 30), ("m", 20)]
    assert pairs(new, "test") == [("c", 20), ("m", 50)]


def test_features_and_graphs_stay_and_new_items_have_none(old: Dataset, new: Dataset) -> None:
    before, after = (one.prepare().corpus.modalities[0] for one in (old, new))
    assert before.features is not None
    assert after.features is not None
    assert before.graph is not None
    assert after.graph is not None
    assert after.features[:3].equal(before.features)
    assert after.features[3].tolist() == [0, 0]
    assert after.graph.neighbours.tolist() == [[1], [2], [0], [-1]]
    assert after.present.tolist() == [True, True, False, False]
    assert (new.path / "features" / "image.npy").stat().st_size > 0
    assert new.manifest.modalities["image"].features is not None
    assert new.manifest.modalities["image"].features.dtype == "float16"


def test_the_manifest_names_the_parent_and_tells_what_happened(old: Dataset, new: Dataset) -> None:
    manifest = new.manifest
    assert manifest.parent == old.manifest_hash
    assert {role: entry.name for role, entry in manifest.sources.items()} == {
        "events": "more.csv",
        "items": "more_items.csv",
    }
    assert manifest.options == old.manifest.options
    assert (manifest.counts.users, manifest.counts.items, manifest.counts.interactions) == (4, 4, 9)
    report = manifest.report
    assert (report.events_read, report.events_kept, report.events_rejected) == (10, 9, 1)
    assert [finding.line() for finding in report.findings] == [
        f"4 events, 2 users and 1 item added to the dataset {old.manifest_hash[:12]}",
        "1 event without a rating kept, since no --min-rating asks for one (more.csv:6)",
        "1 event left out: the user has had the item already (more.csv:3)",
        "1 item of more_items.csv already there; what the dataset holds of them stays",
        "2 items without image features (no row, or a row of zeros)",
        "1 item without a neighbour in the image graph",
    ]
    rejected = pl.read_parquet(new.path / "rejected.parquet")
    assert rejected.select("line", "reason", "user", "item", "shop").rows() == [
        (3, "the user has had the item already", "c", 20, "z")
    ]


def test_the_old_folder_stays_to_the_byte(old: Dataset, write: Write, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in old.path.rglob("*") if path.is_file()}
    append_events(old, tmp_path / "new", write("more.csv", MORE.replace("m,50", "m,20")))
    assert {path: path.read_bytes() for path in old.path.rglob("*") if path.is_file()} == before
    for overwrite in (False, True):
        with pytest.raises(
            DataError, match=r"^expected a new folder, but .*old is what it is to be made of; choose"
        ):
            append_events(old, old.path, tmp_path / "more.csv", overwrite=overwrite)


def test_a_build_names_no_parent(old: Dataset) -> None:
    assert old.manifest.parent is None
    assert "parent" not in (old.path / "manifest.json").read_text()


@pytest.mark.parametrize("kind", ["leave-one-out", "random", "user-time", "global-time", "cold-items"])
def test_other_splits_are_made_again_as_a_build_of_all_events_would(
    kind: str, tmp_path: Path, write: Write
) -> None:
    rng = np.random.default_rng(3)
    rows = [f"u{user},i{item},{time}\n" for time, (user, item) in enumerate(rng.integers(0, 9, (60, 2)))]
    head, options = "user,item,time\n", BuildOptions(splits=(kind,), seed=5)
    first, second = "".join(sorted(rows[:40])), "".join(rows[40:])
    items = write("items.csv", "item\n" + "".join(f"i{item}\n" for item in range(9)))
    old = build(tmp_path / "old", Sources(events=write("a.csv", head + first), items=items), options)
    new = append_events(old, tmp_path / "new", write("b.csv", head + second))
    whole = build(
        tmp_path / "whole", Sources(events=write("c.csv", head + first + second), items=items), options
    )
    assert old.num_users == whole.num_users
    for part in ("train", "valid", "test"):
        assert pairs(new, part) == pairs(whole, part)
    assert new.prepare().split_hash == whole.prepare().split_hash


def test_without_a_catalogue_new_items_come_from_the_new_events(tmp_path: Path, write: Write) -> None:
    old = make(tmp_path, BY_COLUMN, catalogue=False)
    new = append_events(old, tmp_path / "new", write("more.csv", MORE + "a,40,11,1,train,z\n"))
    assert old.item_ids.to_list() == [10, 20, 30]
    assert new.item_ids.to_list() == [10, 20, 30, 40, 50]


def test_with_a_catalogue_an_unknown_item_is_left_out_and_told(
    old: Dataset, tmp_path: Path, write: Write
) -> None:
    new = append_events(old, tmp_path / "new", write("more.csv", MORE))
    assert new.num_items == 3
    told = [finding.line() for finding in new.manifest.report.findings if finding.rejected]
    assert told[0] == "1 event left out: the item is not in the items file (more.csv:4)"
    assert pl.read_parquet(new.path / "rejected.parquet")["line"].sort().to_list() == [3, 4]


def test_where_repeats_count_only_the_very_same_event_is_left_out(tmp_path: Path, write: Write) -> None:
    old = make(tmp_path, BuildOptions(repeats="keep", splits=("leave-one-out",)))
    more = write("more.csv", "user,item,time\nc,20,3\nc,20,8\nm,10,6\n")
    new = append_events(old, tmp_path / "new", more)
    assert new.manifest.counts.interactions == 6
    told = [finding.line() for finding in new.manifest.report.findings if finding.rejected]
    assert told == ["2 events left out: already there, with the same time (more.csv:2, more.csv:4)"]
    assert pairs(new, "test") == [("c", 20)]


def test_one_append_after_another_and_finer_times(tmp_path: Path, write: Write) -> None:
    old = build(
        tmp_path / "old",
        Sources(events=write("a.csv", "user,item,when\na,1,5.25\na,2,5.75\na,3,5.5\n")),
        BuildOptions(columns={"time": "when"}),
    )
    assert pairs(old, "test") == [("a", 2)]
    one = append_events(old, tmp_path / "one", write("b.csv", "user,item,when\na,4,5.6\n"))
    assert pairs(one, "test") == [("a", 2)]
    assert pairs(one, "valid") == [("a", 4)]
    two = append_events(
        one, tmp_path / "two", write("c.csv", "user,item,at\na,5,5.7\n"), columns={"time": "at"}
    )
    assert pairs(two, "valid") == [("a", 5)]
    assert two.manifest.parent == one.manifest_hash
    assert two.item_ids.to_list() == [1, 2, 3, 4, 5]


def test_parts_behind_parts_keep_the_names_of_their_files(tmp_path: Path, write: Write) -> None:
    for name, row in (
        ("old/1.csv", "a,1"),
        ("old/2.csv", "b,2"),
        ("more/3.csv", "a,2"),
        ("more/4.csv", "c,1"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"user,item,fold\n{row},train\n")
    options = BuildOptions(split_columns=("fold",))
    old = build(tmp_path / "dataset", Sources(events=tmp_path / "old"), options)
    new = append_events(old, tmp_path / "new", tmp_path / "more")
    assert new.interactions()["file"].to_list() == ["1.csv", "2.csv", "3.csv", "4.csv"]
    one = append_events(new, tmp_path / "one", write("single.csv", "user,item,fold\nd,1,test\n"))
    assert one.interactions()["file"].to_list() == ["1.csv", "2.csv", "3.csv", "4.csv", None]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("item\n1\n2\n", "item,available\n3,no\n4,yes\n", [True, True, False, True]),
        ("item,available\n1,no\n2,yes\n", "item\n3\n4\n", [False, True, True, True]),
    ],
)
def test_items_of_a_catalogue_that_says_nothing_of_it_are_available(
    before: str, after: str, expected: list[bool], tmp_path: Path, write: Write
) -> None:
    sources = Sources(events=write("e.csv", "user,item\na,1\na,2\n"), items=write("i.csv", before))
    old = build(tmp_path / "old", sources)
    more = write("more.csv", "user,item\nb,3\n")
    new = append_events(old, tmp_path / "new", more, items=write("more_items.csv", after))
    assert new.items["available"].to_list() == expected
    assert new.manifest.columns["items"]["available"] == "available"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            MORE.replace("part", "fold"),
            "expected the column 'part' in .*more.csv, since .* has a split by it",
        ),
        (MORE.replace("z,30,10,2,train", "z,30,10,2,perhaps"), r"got 'perhaps' in .*more.csv \(more.csv:5"),
        (MORE.replace("time", "clock"), "expected times in .*more.csv, as .* has them"),
        (
            "user,item,time,part\nc,10,1,train\n",
            r"expected new events in .*more.csv, found none: 1 event left out",
        ),
        ("user,item\n", "expected at least one event in .*more.csv"),
        (MORE.replace("rating", "other").replace("user", "person"), "expected the user column in .*more.csv"),
    ],
)
def test_what_is_wrong_with_the_new_events_is_told(
    old: Dataset, tmp_path: Path, write: Write, text: str, told: str
) -> None:
    with pytest.raises(DataError, match=told):
        append_events(old, tmp_path / "new", write("more.csv", text))
    assert not (tmp_path / "new").exists()


def test_ids_of_another_kind_are_refused(old: Dataset, tmp_path: Path, write: Write) -> None:
    with pytest.raises(
        DataError, match=r"expected integers as ids of items in .*, as the dataset has them, got 'B7'"
    ):
        append_events(old, tmp_path / "new", write("more.csv", MORE), items=write("i.csv", "id\nB7\n"))
    bare = build(tmp_path / "bare", Sources(events=write("e.csv", "user,item\n1,1\n2,2\n")))
    with pytest.raises(DataError, match=r"expected integers as ids of users in .*got 'x'"):
        append_events(bare, tmp_path / "new", write("more.csv", "user,item\nx,1\n"))
    text = build(tmp_path / "text", Sources(events=write("t.csv", "user,item\na,1\nb,2\n")))
    assert append_events(
        text, tmp_path / "new", write("more.csv", "user,item\n7,1\n")
    ).user_ids.to_list() == [
        "a",
        "b",
        "7",
    ]


def test_a_k_core_cannot_be_carried_on(tmp_path: Path, write: Write) -> None:
    old = build(
        tmp_path / "old",
        Sources(events=write("e.csv", "user,item\n1,1\n1,2\n2,2\n2,1\n")),
        BuildOptions(k_core=(2, 2)),
    )
    with pytest.raises(ConfigError, match="expected a dataset built without --k-core"):
        append_events(old, tmp_path / "new", write("more.csv", MORE))


def test_integers_that_floats_cannot_hold_are_refused(tmp_path: Path, write: Write) -> None:
    logs = {"old": [2**53 + 1, 1], "new": [0.5, 1.5]}
    for name, numbers in logs.items():
        frame = pl.DataFrame({"user": [name, name], "item": [1, 2], "session": numbers})
        frame.write_parquet(tmp_path / f"{name}.parquet")
    old = build(tmp_path / "shop", Sources(events=tmp_path / "old.parquet"))
    told = r"below 2\*\*53 in the column 'session', since the others have floats there, but the dataset holds 9007199"
    with pytest.raises(DataError, match=told):
        append_events(old, tmp_path / "more", tmp_path / "new.parquet")


def test_a_bad_part_of_a_split_names_its_file_and_line(old: Dataset, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "a.csv").write_text("user,item,time,part\nx,10,90,train\ny,10,91,perhaps\n")
    (logs / "b.csv").write_text("user,item,time,part\nx,20,50,maybe\ny,20,10,train\n")
    told = r"got 'perhaps' in .*logs \(a\.csv:3, b\.csv:2; 2 such events\)"
    with pytest.raises(DataError, match=told):
        append_events(old, tmp_path / "new", logs)


def test_a_bad_part_in_a_parquet_file_names_its_row(old: Dataset, tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": ["x", "y"], "item": [10, 10], "time": [9, 8], "part": ["maybe", "train"]})
    frame.write_parquet(tmp_path / "more.parquet")
    with pytest.raises(DataError, match=r"got 'maybe' in .* \(more\.parquet row 1; 1 such events\)"):
        append_events(old, tmp_path / "new", tmp_path / "more.parquet")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (
            "user,item,rating\na,1,5\n",
            "user,item\nb,1\nb,2\n",
            "2 new events without a rating, beside others",
        ),
        ("user,item\na,1\n", "user,item,rating\nb,1,3\n", "1 old event without a rating, beside others"),
        ("user,item\na,1\n", "user,item\nb,1\n", None),
    ],
)
def test_events_without_ratings_beside_rated_ones_are_told(
    before: str, after: str, told: str | None, tmp_path: Path, write: Write
) -> None:
    old = build(tmp_path / "old", Sources(events=write("before.csv", before)))
    new = append_events(old, tmp_path / "new", write("after.csv", after))
    lines = [one.message for one in new.manifest.report.findings if one.kind == "missing rating"]
    assert lines == ([] if told is None else [f"{told} that have one"])
