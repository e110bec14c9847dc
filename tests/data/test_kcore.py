from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.data import BuildOptions
from fuserec.data.build import Sources, build, check
from fuserec.data.kcore import KCORE_LEAK, k_core, parse_k_core
from fuserec.errors import ConfigError, DataError
from fuserec.testing.commands import RunCommand

Rows = np.ndarray[tuple[int], np.dtype[np.int64]]

events = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=60).map(
    lambda drawn: (np.array([user for user, _ in drawn]), np.array([item for _, item in drawn]))
)


def literal_core(users: Rows, items: Rows, user_k: int, item_k: int) -> list[bool]:
    """One user or one item at a time, whichever comes first."""
    left = set(range(len(users)))
    while True:
        items_of: dict[int, set[int]] = {}
        users_of: dict[int, set[int]] = {}
        for event in left:
            items_of.setdefault(users[event], set()).add(items[event])
            users_of.setdefault(items[event], set()).add(users[event])
        poor = [("user", user) for user, held in items_of.items() if len(held) < user_k]
        poor += [("item", item) for item, held in users_of.items() if len(held) < item_k]
        if not poor:
            return [event in left for event in range(len(users))]
        side, row = poor[0]
        left = {event for event in left if (users if side == "user" else items)[event] != row}


def test_dropping_goes_on_until_none_is_left_to_drop() -> None:
    # Item 3 has one user; without it user 2 has one item; without that item 2 has one user, and so on.
    users = np.array([0, 0, 1, 1, 1, 2, 2])
    items = np.array([0, 1, 0, 1, 2, 2, 3])
    core = k_core(users, items, user_k=2, item_k=2)
    assert core.kept.tolist() == [True, True, True, True, False, False, False]
    assert core.rounds == 3


def test_the_same_pair_twice_counts_once() -> None:
    core = k_core(np.array([0, 0, 0]), np.array([4, 4, 4]), user_k=2, item_k=1)
    assert not core.kept.any()


def test_all_events_of_a_pair_that_stays_stay() -> None:
    users, items = np.array([0, 0, 0, 1]), np.array([0, 1, 0, 0])
    assert k_core(users, items, user_k=2, item_k=1).kept.tolist() == [True, True, True, False]


@settings(max_examples=200, deadline=None)
@given(drawn=events, user_k=st.integers(1, 4), item_k=st.integers(1, 4))
def test_the_core_is_the_literal_one(drawn: tuple[Rows, Rows], user_k: int, item_k: int) -> None:
    users, items = drawn
    kept = k_core(users, items, user_k=user_k, item_k=item_k).kept
    assert kept.tolist() == literal_core(users, items, user_k, item_k)


@settings(max_examples=50, deadline=None)
@given(drawn=events, k=st.integers(1, 3), seed=st.integers(0, 99))
def test_the_core_is_a_fixpoint_and_the_order_does_not_matter(
    drawn: tuple[Rows, Rows], k: int, seed: int
) -> None:
    users, items = drawn
    kept = k_core(users, items, user_k=k, item_k=k).kept
    again = k_core(users[kept], items[kept], user_k=k, item_k=k)
    assert again.kept.all()
    assert again.rounds == 0
    shuffled = np.random.default_rng(seed).permutation(len(users))
    assert (
        k_core(users[shuffled], items[shuffled], user_k=k, item_k=k).kept.tolist() == kept[shuffled].tolist()
    )


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1.5", "five", "user=0", "users=5", "user=5,user=5", "5,5", "user=5,", "\u0665"]
)
def test_another_wish_is_refused(text: str) -> None:
    with pytest.raises(
        ConfigError, match=r"expected --k-core K or user=K,item=K with whole numbers of at least 1"
    ):
        parse_k_core(text)


LOG = "user,item,time\na,x,1\na,y,2\nb,x,3\nb,y,4\nb,z,5\nc,z,6\nc,w,7\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "events.csv"
    path.write_text(LOG)
    return path


def test_what_was_dropped_is_told_and_kept_aside(log: Path) -> None:
    dataset = build(log.parent / "core", Sources(events=log), BuildOptions(k_core=(2, 2), strict=True))
    assert dataset.user_ids.to_list() == ["a", "b"]
    assert dataset.item_ids.to_list() == ["x", "y"]
    assert dataset.interactions()["line"].to_list() == [2, 3, 4, 5]
    report = dataset.manifest.report
    assert (report.events_read, report.events_kept, report.events_rejected) == (7, 4, 3)
    assert [finding.line() for finding in report.findings] == [
        "3 events left out: outside the k-core; 1 user and 2 items dropped in 3 rounds (--k-core user=2,item=2) "
        "(events.csv:6, events.csv:7, events.csv:8)"
    ]
    rejected = pl.read_parquet(dataset.path / "rejected.parquet")
    assert rejected.rows() == [
        (6, "outside the k-core", "b", "z", "5"),
        (7, "outside the k-core", "c", "z", "6"),
        (8, "outside the k-core", "c", "w", "7"),
    ]


def test_splits_are_made_of_the_core_and_say_so(log: Path) -> None:
    manifest = check(Sources(events=log), BuildOptions(k_core=(2, 1), splits=("random", "leave-one-out")))
    assert manifest.counts.interactions == 7
    assert [entry.leaks[-1] for entry in manifest.splits.values()] == [KCORE_LEAK] * 2
    assert KCORE_LEAK not in check(Sources(events=log)).splits["leave-one-out"].leaks


def test_items_of_a_catalogue_stay_in_it(log: Path) -> None:
    (log.parent / "items.csv").write_text("item\nw\nx\ny\nz\n")
    manifest = check(Sources(events=log, items=log.parent / "items.csv"), BuildOptions(k_core=(2, 2)))
    assert (manifest.counts.items, manifest.counts.items_without_events) == (4, 2)


def test_a_core_of_nothing_is_refused(log: Path) -> None:
    told = r"no event of .*events.csv is left in the k-core: of 7 events by 3 users none survives --k-core user=4,item=1"
    with pytest.raises(DataError, match=told):
        check(Sources(events=log), BuildOptions(k_core=(4, 1)))


def test_a_core_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected k_core of at least 1 item and 1 user, got \(0, 1\)"):
        BuildOptions(k_core=(0, 1))


def test_the_option_reaches_the_build(fuserec: RunCommand, log: Path) -> None:
    done = fuserec("data", "check", "--events", log, "--k-core", "user=2", "--json")
    assert done.json["options"]["k_core"] == [2, 1]
    assert fuserec("data", "check", "--events", log, "--k-core", 2, "--json").json["options"]["k_core"] == [
        2,
        2,
    ]
    assert fuserec("data", "check", "--events", log, "--json").json["options"]["k_core"] is None
