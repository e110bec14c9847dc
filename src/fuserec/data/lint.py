"""What a dataset leaks from its held-out events into its training events, as far as the data can tell.

A *leak* makes figures better than they would be in use, in a way that the split does not announce; a *note* is what
one should know of a split that keeps its promise.

Shape legend
    E  events   I  items   K  neighbours
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fuserec.data.dataset import Dataset
from fuserec.data.lint_content import (
    Yardsticks,
    knowledge,
    nearest_rows,
    of_factors,
    of_shared_users,
)
from fuserec.data.report import count
from fuserec.data.schema import PARTS
from fuserec.data.split import TEST, TRAIN, VALID

__all__ = ["Content", "Leak", "Parts", "lint", "lint_content", "lint_events"]

_NEIGHBOURS = 10
_FACTORS = 64
"""Of the yardstick for features, whatever their width: few factors lose single events, so that good features of little
width would pass for a leak."""
_BY_DESIGN = {"random", "cold-items"}
"""Kinds of split in which time plays no part, as they say themselves."""

_Rows = NDArray[np.int64]
_Severity = Literal["leak", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """One thing found.

    Attributes:
        severity: ``leak`` or ``note``.
        kind: a short name.
        split: of which split.
        count: events it concerns, of ``of`` events.
        of: held-out events looked at.
        message: the whole sentence.
    """

    severity: _Severity
    kind: str
    split: str
    count: int
    of: int
    message: str

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Features or a graph, one of the two.

    Attributes:
        what: its name, for example ``text features``.
        features: (I, width).
        neighbours: (I, K) item rows, -1 where there is none.
    """

    what: str
    features: NDArray[np.float32] | None = None
    neighbours: _Rows | None = None

    def graph(self) -> tuple[_Rows, int | None]:
        """(I, K) neighbours, and the number of factors to compare features with."""
        if self.neighbours is not None:
            return self.neighbours, None
        assert self.features is not None
        return nearest_rows(self.features, _NEIGHBOURS), _FACTORS


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The events of a dataset under one split.

    Attributes:
        name: of the split.
        kind: of the split.
        users: (E,) rows.
        items: (E,) rows.
        times: (E,) seconds; None without times.
        codes: (E,) 0 train, 1 valid, 2 test.
        repeats: the dataset keeps a user's later events with an item.
    """

    name: str
    kind: str
    users: _Rows
    items: _Rows
    times: _Rows | None
    codes: NDArray[np.int8]
    repeats: bool = False


def lint(dataset: Dataset) -> list[Leak]:
    """Look at every split of a dataset.

    Raises:
        DataError: a file is broken.
    """
    events = dataset.interactions()
    users, items = (np.array(events[role].to_numpy(), dtype=np.int64) for role in ("user", "item"))
    times = events["time"].to_numpy() if "time" in events.columns else None
    sizes = {"num_users": dataset.num_users, "num_items": dataset.num_items}
    content = _content(dataset)
    found: list[Leak] = []
    for name, entry in dataset.manifest.splits.items():
        codes = dataset.parts(name).cast(pl.Enum(PARTS)).to_physical().to_numpy()
        parts = Parts(
            name=name,
            kind=entry.kind,
            users=users,
            items=items,
            times=times,
            codes=codes.astype(np.int8),
            repeats=dataset.repeats,
        )
        found += [*lint_events(parts), *lint_content(parts, content, **sizes)]
    return found


def _content(dataset: Dataset) -> list[Content]:
    if not dataset.manifest.modalities:
        return []
    content = []
    for modality in dataset.prepare(dataset.splits[0]).corpus.modalities:
        if modality.features is not None:
            content.append(Content(what=f"{modality.name} features", features=modality.features.numpy()))
        if modality.graph is not None:
            content.append(
                Content(what=f"{modality.name} graph", neighbours=modality.graph.neighbours.numpy())
            )
    return content


def lint_events(parts: Parts) -> list[Leak]:
    """Leaks in time, and pairs or items in two parts where the split should keep them apart."""
    return [*_own_future(parts), *_others_future(parts), *_shared_pairs(parts), *_shared_items(parts)]


def _leak(parts: Parts, kind: str, number: int, of: int, words: str, *, severity: _Severity = "leak") -> Leak:
    return Leak(severity=severity, kind=kind, split=parts.name, count=number, of=of, message=words)


def _own_future(parts: Parts) -> Iterator[Leak]:
    """Held-out events older than a training event of the same user."""
    if parts.times is None:
        return
    train = parts.codes == TRAIN
    newest = np.full(int(parts.users.max(initial=-1)) + 1, np.iinfo(np.int64).min)
    np.maximum.at(newest, parts.users[train], parts.times[train])
    older = ~train & (parts.times < newest[parts.users])
    number, of = int(older.sum()), int((~train).sum())
    if not number:
        return
    owners = len(np.unique(parts.users[older]))
    words = (
        f"{count(number, 'held-out event')} of {of:,} ({number / of:.0%}), of {count(owners, 'user')}, "
        "older than a training event of the same user"
    )
    if parts.kind in _BY_DESIGN:
        yield _leak(
            parts, "own future", number, of, f"{words}, as {parts.kind} says of itself", severity="note"
        )
    else:
        yield _leak(parts, "own future", number, of, f"{words}; split by time, for example --split user-time")


def _others_future(parts: Parts) -> Iterator[Leak]:
    """Test events older than the newest training event of anybody."""
    train, test = parts.codes == TRAIN, parts.codes == TEST
    if parts.times is None or not train.any() or not test.any():
        return
    number, of = int((parts.times[test] < parts.times[train].max()).sum()), int(test.sum())
    if not number:
        return
    words = (
        f"{count(number, 'test event')} of {of:,} ({number / of:.0%}) older than the newest training event"
    )
    if parts.kind == "global-time":
        yield _leak(
            parts, "future", number, of, f"{words}, which global-time rules out; build the dataset again"
        )
    else:
        yield _leak(parts, "future", number, of, f"{words}; only global-time has none", severity="note")


def _shared_pairs(parts: Parts) -> Iterator[Leak]:
    """Held-out events whose user has the same item in training; and the same event, time included, in two parts."""
    num_items = int(parts.items.max(initial=-1)) + 1
    pairs = parts.users * num_items + parts.items
    held_out = parts.codes != TRAIN
    of = int(held_out.sum())
    for part in (VALID, TEST):
        mine, before = parts.codes == part, parts.codes < part
        again = mine & np.isin(pairs, pairs[before])
        same = np.zeros_like(again)
        if parts.repeats and parts.times is not None:
            stamps = np.unique(np.stack([pairs, parts.times]), axis=1, return_inverse=True)[1].ravel()
            same = mine & np.isin(stamps, stamps[before])
        elif not parts.repeats:
            same = again
        name = PARTS[part]
        if same.any():
            number = int(same.sum())
            words = f"{count(number, f'{name} event')} of {int(mine.sum()):,} in an earlier part as well, with the same user and item"
            words += " and time" if parts.repeats else ""
            yield _leak(parts, "same event", number, of, f"{words}; leave out duplicates before splitting")
        number = int((again & ~same).sum())
        if number:
            words = (
                f"{count(number, f'{name} event')} of {int(mine.sum()):,} with an item that the user has in an earlier part; "
                "right where people come back to things, else build with --repeats drop"
            )
            yield _leak(parts, "repeat", number, of, words, severity="note")


def _shared_items(parts: Parts) -> Iterator[Leak]:
    """Held-out events on items that train, in a split that holds items out whole."""
    if parts.kind != "cold-items":
        return
    held_out = parts.codes != TRAIN
    number = int((held_out & np.isin(parts.items, parts.items[~held_out])).sum())
    if number:
        words = f"{count(number, 'held-out event')} on items that train, which cold-items rules out; build the dataset again"
        yield _leak(parts, "shared item", number, int(held_out.sum()), words)


def lint_content(parts: Parts, content: Sequence[Content], *, num_users: int, num_items: int) -> list[Leak]:
    """Features and graphs that know held-out events, as `fuserec.data.lint_content` measures it.

    Events on items without a training event are left out: training events say nothing there to compare with.

    Args:
        parts: the events.
        content: what to look at.
        num_users: rows of users.
        num_items: rows of items.
    """
    found: list[Leak] = []
    train = parts.codes == TRAIN
    warm = np.bincount(parts.items[train], minlength=num_items)[parts.items] > 0
    for part in (VALID, TEST):
        held_out = (parts.codes == part) & warm
        if not (parts.codes == part).any():
            continue
        yardsticks: dict[tuple[int, int | None], Yardsticks] = {}
        for one in content:
            asked, rank = one.graph()
            key = (asked.shape[1], rank)
            if key not in yardsticks:
                yardsticks[key] = Yardsticks(
                    *(
                        _yardstick(
                            parts.users[of], parts.items[of], num_users, num_items, k=key[0], rank=rank
                        )
                        for of in (train, train | held_out)
                    )
                )
            found += _told(parts, part, one.what, asked, yardsticks[key], held_out)
    return found


def _yardstick(
    users: _Rows, items: _Rows, num_users: int, num_items: int, *, k: int, rank: int | None
) -> _Rows:
    if rank is None:
        return of_shared_users(users, items, num_users=num_users, num_items=num_items, k=k)
    return of_factors(users, items, num_users=num_users, num_items=num_items, rank=rank, k=k)


def _told(
    parts: Parts, part: int, what: str, asked: _Rows, yardsticks: Yardsticks, held_out: NDArray[np.bool_]
) -> Iterator[Leak]:
    users, items = parts.users[held_out], parts.items[held_out]
    # Beside what the user has in training, and beside what else is held out of the same user.
    measured = [
        knowledge(asked, yardsticks, users, items, parts.users[history], parts.items[history])
        for history in (parts.codes == TRAIN, held_out)
    ]
    of = int(held_out.sum())
    leaks = [one for one in measured if one.leak]
    if leaks and leaks[0].share is not None:
        words = (
            f"the {what} know {leaks[0].share:.0%} of what the {PARTS[part]} events would tell (0% is what training "
            f"events tell; measured on {count(leaks[0].events, 'event')}); compute them without held-out events"
        )
        yield _leak(parts, "content", leaks[0].events, of, words)
    elif all(one.share is None for one in measured):
        words = f"{count(of, f'{PARTS[part]} event')} on items that train say too little to tell whether the {what} know them"
        yield _leak(parts, "content", of, of, words, severity="note")
