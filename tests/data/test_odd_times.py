from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fuserec.data.append import append_events
from fuserec.data.build import Sources, build, check

WriteFile = Callable[[str, str | bytes], Path]


def told(write: WriteFile, times: Sequence[object]) -> list[str]:
    """What a check says of events with these times that has to do with them."""
    rows = "".join(f"u,{item},{time}\n" for item, time in enumerate(times))
    findings = check(Sources(events=write("log.csv", "user,item,time\n" + rows))).report.findings
    return [one.line() for one in findings if one.kind in ("times far apart", "odd times")]


def test_seconds_among_milliseconds_are_counted(write: WriteFile) -> None:
    assert told(write, [1_600_000_000_000, 1_600_000_000, 1_600_000_001_000, 1_600_000_005]) == [
        "2 events before 1990 beside 2 events after 1999; the numbers may be of several units, such as seconds and "
        "milliseconds (log.csv:3, log.csv:5)"
    ]


@pytest.mark.parametrize(
    ("times", "what"),
    [
        ([45000.5, 45001.25], "days since 1900, as spreadsheets count"),
        ([20240315, 20231231], "dates written as YYYYMMDD"),
    ],
)
def test_numbers_that_are_days_are_told(write: WriteFile, times: list[float], what: str) -> None:
    assert told(write, times) == [
        f"the times are taken as seconds, hence all lie in 1970, but look like {what}; if so, write them as 2024-03-15 "
        "(log.csv:2, log.csv:3)"
    ]


@pytest.mark.parametrize(
    "times",
    [
        [1, 2, 3],
        [40_000, 50_000, 60_000],
        [1_600_000_000, 1_700_000_000],
        [631_152_000, 1_600_000_000],
        [500_000_000, 700_000_000],
        ["1985-01-01", "2020-01-01"],
    ],
)
def test_times_that_may_well_be_meant_are_not_told(write: WriteFile, times: list[object]) -> None:
    assert told(write, times) == []


def test_an_append_in_another_unit_is_told_once(write: WriteFile, tmp_path: Path) -> None:
    log = write("log.csv", "user,item,time\na,1,1600000000\na,2,1600000001\n")
    old = build(tmp_path / "old", Sources(events=log))
    new = append_events(old, tmp_path / "new", write("more.csv", "user,item,time\nb,1,1600\nb,2,1601\n"))
    kinds = [one.kind for one in new.manifest.report.findings]
    assert kinds.count("times far apart") == 1
