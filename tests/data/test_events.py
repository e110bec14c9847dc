from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fuserec.data.build import Sources
from fuserec.data.plan import Plan, plan_build
from fuserec.data.schema import BuildOptions
from fuserec.errors import DataError

Write = Callable[[str, str | bytes], Path]


def plan(write: Write, events: str, *, items: str | None = None, **options: Any) -> Plan:
    sources = Sources(
        events=write("events.csv", events), items=None if items is None else write("items.csv", items)
    )
    return plan_build(sources, BuildOptions(**options))


def told(made: Plan) -> list[str]:
    return [finding.line() for finding in made.manifest.report.findings]


def pairs(made: Plan) -> list[tuple[object, object]]:
    users = made.users["user_id"].gather(made.interactions["user"])
    items = made.items["item_id"].gather(made.interactions["item"])
    return list(zip(users.to_list(), items.to_list(), strict=True))


def test_every_row_is_kept_or_rejected_for_one_reason_with_its_line(write: Write) -> None:
    made = plan(
        write,
        "user,item,time,rating\n"
        "a,1,10,5\n"  # 2 kept
        ",1,11,5\n"  # 3 missing user (and nothing else is said)
        "a,,12,5\n"  # 4 missing item
        "a,2,,5\n"  # 5 missing time
        "a,2,-3,5\n"  # 6 before 1970
        "a,2,99999999999,5\n"  # 7 after 2199
        "a,2,noon,5\n"  # 8 unreadable
        "a,2,13,good\n"  # 9 rating no number
        "a,2,13,\n"  # 10 rating missing
        "a,2,13,2.5\n"  # 11 rating low
        "a,9,13,5\n"  # 12 unknown item
        "a,2,14,3\n"  # 13 kept
        "a,1,9,4\n",  # 14 the same pair earlier: line 2 is the duplicate
        items="item\n1\n2\n3\n",
        min_rating=3.0,
    )
    assert pairs(made) == [("a", 1), ("a", 2)]
    assert made.interactions["line"].to_list() == [14, 13]
    assert list(zip(made.rejected["line"], made.rejected["reason"], strict=True)) == [
        (2, "a duplicate of an earlier event"),
        (3, "a missing user"),
        (4, "a missing item"),
        (5, "a missing time"),
        (6, "a time before 1970"),
        (7, "a time after 2199"),
        (8, "a time that cannot be read"),
        (9, "a rating that is not a number"),
        (10, "a missing rating"),
        (11, "a rating under 3"),
        (12, "the item is not in the items file"),
    ]
    assert "1 event left out: a time that cannot be read (events.csv:8)" in told(made)
    report = made.manifest.report
    assert (report.events_read, report.events_kept, report.events_rejected) == (13, 2, 11)
    assert made.rejected.row(1, named=True)["time"] == "11"


def test_only_the_first_few_places_are_named(write: Write) -> None:
    made = plan(write, "user,item,time\na,1,5\n" + "a,1,6\n" * 7, splits=("random",))
    assert told(made) == [
        "7 events left out: a duplicate of an earlier event "
        "(events.csv:3, events.csv:4, events.csv:5, events.csv:6, events.csv:7, ...)"
    ]


def test_repeats_are_kept_when_asked_and_told(write: Write) -> None:
    made = plan(write, "user,item,time\na,1,5\na,1,6\nb,1,6\n", repeats="keep", splits=("random",))
    assert pairs(made) == [("a", 1), ("a", 1), ("b", 1)]
    assert told(made) == [
        "1 event of an item that the user has had; kept, as --repeats keep asks (events.csv:3)"
    ]


def test_a_duplicate_of_a_rejected_row_is_no_duplicate(write: Write) -> None:
    made = plan(write, "user,item,rating\na,1,1\na,1,5\n", min_rating=2.0)
    assert made.interactions["line"].to_list() == [3]


def test_kept_rows_lose_nothing(write: Write) -> None:
    made = plan(write, "device,user,item,time,rating,line,user_name\nphone,a,1,2020-01-01,4.5,x,Ann\n")
    assert made.interactions.to_dicts() == [
        {
            "user": 0,
            "item": 0,
            "time": 1_577_836_800,
            "rating": 4.5,
            "line": 2,
            "device": "phone",
            "time_original": "2020-01-01",
            "line_original": "x",
            "user_name": "Ann",
        }
    ]


def test_events_are_ordered_by_time_finer_than_a_second_and_then_by_input(write: Write) -> None:
    made = plan(write, "user,item,time\na,1,5.75\na,2,5.25\na,3,5.25\na,4,1\n")
    assert [item for _, item in pairs(made)] == [4, 2, 3, 1]
    assert made.interactions["time"].to_list() == [1, 5, 5, 5]


def test_milliseconds_are_rescaled_and_told(write: Write) -> None:
    made = plan(write, "user,item,time\na,1,1600000000123\na,2,1600000001000\n")
    assert made.interactions["time"].to_list() == [1_600_000_000, 1_600_000_001]
    assert made.interactions["time_original"].to_list() == ["1600000000123", "1600000001000"]
    assert any("taken as ms" in line and "--time-unit ms" in line for line in told(made))
    quiet = plan(write, "user,item,time\na,1,1600000000123\n", time_unit="ms")
    assert not any("taken as" in line for line in told(quiet))


def test_strict_refuses_what_would_be_left_out_or_guessed(write: Write) -> None:
    with pytest.raises(
        DataError, match=r"--strict refuses: 1 event left out: a missing user \(events.csv:3\)"
    ):
        plan(write, "user,item\na,1\n,2\n", strict=True)
    with pytest.raises(DataError, match="--strict refuses: the times in column 'time' are taken as ms"):
        plan(write, "user,item,time\na,1,1600000000123\n", strict=True)
    assert pairs(plan(write, "user,item,time\na,1,1\n", strict=True)) == [("a", 1)]


def test_missing_ratings_are_told_and_kept_unless_a_smallest_one_is_asked_for(write: Write) -> None:
    made = plan(write, "user,item,rating\na,1,\na,2,3\n")
    assert made.interactions["rating"].to_list() == [None, 3.0]
    assert "1 event without a rating kept, since no --min-rating asks for one (events.csv:2)" in told(made)


def test_blank_lines_are_told(write: Write) -> None:
    assert "2 blank lines in events.csv passed over" in told(plan(write, "user,item\n\na,1\n\n"))


def test_a_log_in_which_nothing_can_be_used_is_refused_with_the_reasons(write: Write) -> None:
    with pytest.raises(
        DataError,
        match=r"no event of .*events.csv is left: 1 event left out: a missing user \(events.csv:2\); 1 event left",
    ):
        plan(write, "user,item\n,1\na,\n")


def test_a_header_alone_is_refused(write: Write) -> None:
    with pytest.raises(DataError, match=r"expected at least one event in .*, found none below the header"):
        plan(write, "user,item\n")


def test_a_smallest_rating_needs_ratings(write: Write) -> None:
    with pytest.raises(DataError, match=r"--min-rating needs a rating column, but .*events.csv has none"):
        plan(write, "user,item\na,1\n", min_rating=3.0)


def test_ratings_of_another_type_are_refused(tmp_path: Path) -> None:
    pl.DataFrame({"user": [1], "item": [1], "rating": [True]}).write_parquet(tmp_path / "e.parquet")
    with pytest.raises(DataError, match="expected ratings as numbers in column 'rating', got Boolean"):
        plan_build(Sources(events=tmp_path / "e.parquet"))


def test_rows_of_a_parquet_file_are_named_by_number(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": [1, None], "item": [1, 2], "rating": [float("nan"), 1.0]})
    frame.write_parquet(tmp_path / "e.parquet")
    made = plan_build(Sources(events=tmp_path / "e.parquet"))
    assert "1 event left out: a missing user (e.parquet row 2)" in told(made)
    assert made.interactions["rating"].to_list() == [None]


def test_ids_of_events_and_items_meet_in_one_type(write: Write) -> None:
    made = plan(write, "user,item\na,1\na,x\n", items="item\n1\n2\n")
    assert made.items["item_id"].to_list() == ["1", "2"]
    assert "1 event left out: the item is not in the items file (events.csv:3)" in told(made)


def test_users_and_items_without_a_file_are_numbered_in_the_order_of_their_ids(write: Write) -> None:
    made = plan(write, "user,item\nb,10\na,9\nb,9\n")
    assert made.users["user_id"].to_list() == ["a", "b"]
    assert made.items["item_id"].to_list() == [9, 10]


def test_types_keep_what_is_asked_for_and_tell_the_rest(write: Write) -> None:
    log = write("e.csv", "user,item,event,page\na,1,view,x\na,1,buy,y\na,2,,z\nb,1,cart,\nb,2,wish,\n")
    made = plan_build(Sources(events=log), BuildOptions(types=("buy", "cart")))
    assert made.interactions.select("user", "item", "type", "page").rows() == [
        (0, 0, "buy", "y"),
        (1, 0, "cart", None),
    ]
    assert [finding.line() for finding in made.manifest.report.findings if finding.rejected] == [
        "2 events left out: a type other than buy or cart (e.csv:2, e.csv:6)",
        "1 event left out: a missing type (e.csv:4)",
    ]
    assert made.manifest.columns["events"]["type"] == "event"


def test_without_types_all_events_count_and_the_column_is_kept(write: Write) -> None:
    log = write("e.csv", "user,item,event\na,1,view\na,2,buy\nb,1,cart\n")
    assert plan_build(Sources(events=log)).interactions["event"].to_list() == ["view", "buy", "cart"]
    named = plan_build(Sources(events=log), BuildOptions(columns={"type": "event"}))
    assert named.interactions["type"].to_list() == ["view", "buy", "cart"]


def test_a_type_that_no_event_has_is_refused_with_the_nearest(write: Write) -> None:
    log = write("e.csv", "user,item,event\na,1,view\na,2,buy\n")
    with pytest.raises(DataError, match=r"no event of .*e.csv is of the type 'buys'; did you mean 'buy'\?"):
        plan_build(Sources(events=log), BuildOptions(types=("buys",)))
    with pytest.raises(DataError, match=r"expected the type column in .*e\.csv"):
        plan_build(Sources(events=write("e.csv", "user,item\na,1\n")), BuildOptions(types=("buy",)))
