from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fuserec.data import BuildOptions, Dataset
from fuserec.data.build import Sources, build, check
from fuserec.data.schema import SPLIT_KINDS
from fuserec.data.show import describe
from fuserec.data.split_plan import KEEPS, LEAKS
from fuserec.errors import DataError

LOG = "user,item,time\n" + "".join(
    f"u{user},i{(user + step) % 7},{10 * step + user}\n" for user in range(4) for step in range(5)
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "events.csv"
    path.write_text(LOG)
    return path


def built(log: Path, **options: Any) -> Dataset:
    return build(log.parent / "dataset", Sources(events=log), BuildOptions(**options), overwrite=True)


def test_every_kind_of_split_says_what_it_keeps_apart_and_what_it_leaks() -> None:
    assert set(SPLIT_KINDS) == set(KEEPS) - {"leave-one-out untimed"}
    assert set(KEEPS) == set(LEAKS)


@pytest.mark.parametrize("kind", [kind for kind in SPLIT_KINDS if kind != "column"])
def test_the_manifest_and_the_summary_tell_it(log: Path, kind: str) -> None:
    dataset = built(log, splits=(kind,), fractions=(0.6, 0.2, 0.2))
    entry = dataset.manifest.splits[kind]
    assert (entry.kind, entry.keeps, entry.leaks) == (kind, KEEPS[kind], (LEAKS[kind],))
    summary = (dataset.path / "summary.md").read_text()
    assert f"\n{kind}:\n\n- {KEEPS[kind]}\n- {LEAKS[kind]}\n" in summary


def test_a_split_column_is_told_as_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("user,item,split\na,x,train\na,y,test\n")
    told = describe(check(Sources(events=path)))
    assert "\nsplit:\n\n- Keeps apart what the column says; fuserec did not choose it.\n" in told


def test_a_global_cut_tells_its_instants_and_whom_it_leaves_cold(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    rows = [("a", "x", 1), ("a", "y", 2), ("b", "x", 3), ("b", "y", 4), ("c", "x", 5), ("c", "z", 6)]
    path.write_text("user,item,time\n" + "".join(f"{user},{item},{time}\n" for user, item, time in rows))
    dataset = built(path, splits=("global-time",), fractions=(0.6, 0.2, 0.2))
    entry = dataset.manifest.splits["global-time"]
    assert (entry.train, entry.valid, entry.test) == (4, 1, 1)
    assert (entry.valid_from, entry.test_from) == (5, 6)
    assert (entry.cold_users, entry.cold_items, entry.cold_test) == (1, 1, 1)
    told = describe(dataset.manifest)
    assert (
        "- Validation begins at 1970-01-01 00:00:05 UTC.\n- Test begins at 1970-01-01 00:00:06 UTC.\n" in told
    )
    assert "- 1 user and 1 item with held-out events have no training event.\n" in told


def test_cut_instants_between_seconds_are_told_in_whole_seconds(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("user,item,time\n" + "".join(f"a,{item},{1000 + item * 400}\n" for item in range(10)))
    dataset = built(path, splits=("global-time",), time_unit="ms")
    entry = dataset.manifest.splits["global-time"]
    assert (entry.train, entry.valid, entry.test) == (8, 1, 1)
    assert (entry.valid_from, entry.test_from) == (4, 4)


def test_no_item_of_cold_items_is_in_two_parts(log: Path) -> None:
    dataset = built(log, splits=("cold-items",), fractions=(0.6, 0.2, 0.2), seed=3)
    parts = pl.read_parquet(dataset.path / "splits" / "cold-items.parquet")
    per_item = dataset.interactions().hstack(parts).group_by("item").agg(pl.col("part").n_unique())
    assert per_item["part"].to_list() == [1] * 7
    entry = dataset.manifest.splits["cold-items"]
    assert (entry.cold_items, entry.cold_test) == (2, entry.test)


@pytest.mark.parametrize("kind", ["user-time", "global-time"])
def test_a_split_by_time_needs_times(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "events.csv"
    path.write_text("user,item\na,x\na,y\n")
    with pytest.raises(
        DataError, match=rf"--split {kind} needs times, but .*events.csv has none; say which column"
    ):
        check(Sources(events=path), BuildOptions(splits=(kind,)))


def test_leave_one_out_without_times_claims_no_future(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("user,item\na,x\na,y\na,z\n")
    entry = check(Sources(events=path)).splits["leave-one-out"]
    assert entry.leaks == ("May leak the future: the order of the input need not be that of time.",)


def test_ties_name_the_split_they_decided(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("user,item,time\na,x,1\na,y,2\na,z,2\n")
    report = check(Sources(events=path), BuildOptions(splits=("user-time", "leave-one-out"))).report
    told = [finding.message for finding in report.findings]
    assert [message.split(":")[0] for message in told] == [
        "1 user with a tie in time at the held-out events of user-time",
        "1 user with a tie in time at the held-out events of leave-one-out",
    ]
