"""Every split that a build asks for, counted, with what each keeps apart and what it leaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fuserec.data.columns import EventColumns
from fuserec.data.events import Events
from fuserec.data.kcore import KCORE_LEAK
from fuserec.data.report import count
from fuserec.data.schema import BuildOptions, Finding, SplitEntry, check_name
from fuserec.data.sources.table import Table
from fuserec.data.split import (
    TRAIN,
    GlobalTime,
    UserTime,
    by_column,
    cold_items,
    global_time,
    leave_one_out,
    random_per_user,
    user_time,
)
from fuserec.data.statistics import count_split
from fuserec.errors import DataError

__all__ = ["KEEPS", "LEAKS", "Splits", "plan_splits"]

_Codes = NDArray[np.int8]
_ACROSS_USERS = (
    "Leaks the future across users: a test event of one may be older than a training event of another."
)

KEEPS = {
    "column": "Keeps apart what the column says; fuserec did not choose it.",
    "leave-one-out": "Keeps each user's past and future apart: the last event tests, the one before validates.",
    "leave-one-out untimed": "Keeps each user's last two events of the input apart; without times, last means nothing else.",
    "user-time": "Keeps each user's past and future apart: the last events test, those before validate.",
    "global-time": "Keeps past and future apart for everyone: nothing that trains is newer than what is held out.",
    "cold-items": "Keeps items apart: nobody's events with a held-out item train, so its content alone can speak for it.",
    "random": "Keeps events apart, drawn at random within each user.",
}
"""What each kind of split keeps apart."""

LEAKS = {
    "column": "May leak anything: fuserec data lint tells what can be seen in the data.",
    "leave-one-out": _ACROSS_USERS,
    "leave-one-out untimed": "May leak the future: the order of the input need not be that of time.",
    "user-time": _ACROSS_USERS,
    "global-time": "Leaks no future; users and items that begin after the first cut are cold in it.",
    "cold-items": "Leaks the future: time plays no part, and what trains may be newer than what is held out.",
    "random": "Leaks the future: a user's newer events train while older ones test.",
}
"""What each kind of split leaks, or that it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """What was made.

    Attributes:
        codes: (E,) codes of the parts by name of the split.
        entries: what the manifest says of each.
        findings: what was noticed.
    """

    codes: Mapping[str, _Codes]
    entries: Mapping[str, SplitEntry]
    findings: tuple[Finding, ...]


def plan_splits(
    table: Table,
    columns: EventColumns,
    events: Events,
    interactions: pl.DataFrame,
    options: BuildOptions,
    *,
    num_users: int,
    num_items: int,
) -> Splits:
    """Make every split that is asked for; without a wish the columns where there are any, else leave-one-out.

    Args:
        table: the log.
        columns: its roles.
        events: what was kept of it.
        interactions: the same events with rows in the place of ids.
        options: kinds of split, fractions and seed.
        num_users: rows of users.
        num_items: rows of items.

    Raises:
        DataError: a split needs times and there are none, or nothing would be left to train with.
    """
    users, items = interactions["user"].to_numpy(), interactions["item"].to_numpy()
    instants = None if events.instants is None else events.instants.to_numpy()
    codes_of: dict[str, _Codes] = {}
    entries: dict[str, SplitEntry] = {}
    findings: list[Finding] = []

    def add(
        name: str,
        kind: str,
        codes: _Codes,
        *,
        rule: str | None = None,
        told: Mapping[str, int | None] | None = None,
    ) -> None:
        if not (codes == TRAIN).any():
            raise DataError(f"expected at least one training event in the split {name!r}, got none")
        entry = count_split(interactions, codes, kind=kind, num_users=num_users, num_items=num_items)
        words = {"keeps": KEEPS[rule or kind], "leaks": (LEAKS[rule or kind], *by_all_events)}
        codes_of[name], entries[name] = codes, entry.model_copy(update={**(told or {}), **words})

    by_all_events = () if options.k_core is None else (KCORE_LEAK,)
    default: tuple[str, ...] = ("column",) if columns.splits else ("leave-one-out",)
    for kind in dict.fromkeys(options.splits or default):
        if kind == "column":
            rows = events.rows.to_numpy()
            for column in columns.splits:
                values = table.frame[column][events.rows]
                add(check_name(column, "split"), kind, by_column(values, table, rows))
        elif kind == "random":
            add(kind, kind, random_per_user(users, options.fractions, seed=options.seed))
        elif kind == "cold-items":
            add(kind, kind, cold_items(items, options.fractions, seed=options.seed))
        elif kind == "global-time":
            cut = global_time(_required(instants, kind, table), options.fractions)
            add(kind, kind, cut.codes, told=_cuts(cut))
        elif kind == "user-time":
            ordered = user_time(users, _required(instants, kind, table), options.fractions)
            add(kind, kind, ordered.codes, told={"tied_users": ordered.tied_users})
            findings += _tie_findings(ordered, kind)
        elif instants is None:
            add(kind, kind, leave_one_out(users, None).codes, rule="leave-one-out untimed")
            message = "no times: the order of the input decides which events are last"
            findings.append(Finding(kind="no times", count=0, message=message))
        else:
            held_out = leave_one_out(users, instants)
            add(kind, kind, held_out.codes, told={"tied_users": held_out.tied_users})
            findings += _tie_findings(held_out, kind)
    return Splits(codes=codes_of, entries=entries, findings=tuple(findings))


def _required(instants: NDArray[np.int64] | None, kind: str, table: Table) -> NDArray[np.int64]:
    if instants is None:
        raise DataError(
            f"--split {kind} needs times, but {table.path} has none; say which column holds them with --columns time=..."
        )
    return instants


def _cuts(cut: GlobalTime) -> dict[str, int | None]:
    """From microseconds to the seconds of the dataset."""
    return {
        name: None if instant is None else instant // 1_000_000
        for name, instant in (("valid_from", cut.valid_from), ("test_from", cut.test_from))
    }


def _tie_findings(ordered: UserTime, kind: str) -> list[Finding]:
    if not ordered.tied_users:
        return []
    message = (
        f"{count(ordered.tied_users, 'user')} with a tie in time at the held-out events of {kind}: "
        "the order of the input decides which are last"
    )
    return [Finding(kind="tie in time", count=ordered.tied_users, message=message)]
