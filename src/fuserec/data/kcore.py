"""The k-core of a log: what is left when users and items with too few interactions are dropped, again and again.

Shape legend
    E  events   P  distinct pairs of user and item
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fuserec.data.events import Events, rejected_rows
from fuserec.data.report import count, places
from fuserec.data.schema import Finding
from fuserec.data.sources.table import Table
from fuserec.errors import ConfigError, DataError

__all__ = ["KCORE_LEAK", "Core", "k_core", "keep_core", "parse_k_core"]

KCORE_LEAK = (
    "The k-core was chosen by all events, held-out ones too, so every user and item in it is known to go on."
)
"""What it adds to the leaks of every split."""

_REASON = "outside the k-core"
_Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Core:
    """(E,) True for the events that are left, and how many rounds of dropping it took."""

    kept: NDArray[np.bool_]
    rounds: int


def k_core(users: _Rows, items: _Rows, *, user_k: int, item_k: int) -> Core:
    """Drop users with fewer than ``user_k`` items and items with fewer than ``item_k`` users until none is left to drop.

    The outcome is the largest set of events in which all have enough; it depends neither on the order of the
    events nor on which side is dropped first. A pair that stands twice counts once.

    Args:
        users: (E,) user rows.
        items: (E,) item rows.
        user_k: fewest distinct items of a user.
        item_k: fewest distinct users of an item.
    """
    num_users, num_items = (int(rows.max(initial=-1)) + 1 for rows in (users, items))
    pairs, pair_of_event = np.unique(users * num_items + items, return_inverse=True)
    user_of_pair, item_of_pair = np.divmod(pairs, max(num_items, 1))
    left = np.arange(len(pairs))
    rounds = 0
    while True:
        degree_of_user = np.bincount(user_of_pair[left], minlength=num_users)
        degree_of_item = np.bincount(item_of_pair[left], minlength=num_items)
        enough = (degree_of_user[user_of_pair[left]] >= user_k) & (
            degree_of_item[item_of_pair[left]] >= item_k
        )
        if enough.all():
            break
        left, rounds = left[enough], rounds + 1
    kept = np.zeros(len(pairs), dtype=bool)
    kept[left] = True
    return Core(kept[pair_of_event], rounds)


def keep_core(events: Events, table: Table, *, user_k: int, item_k: int) -> Events:
    """The events of the k-core; the others are rejected, counted and told.

    Raises:
        DataError: nothing is left.
    """
    users, items = (_numbered(events.kept[role]) for role in ("user", "item"))
    core = k_core(users, items, user_k=user_k, item_k=item_k)
    asked = f"--k-core user={user_k},item={item_k}"
    if not core.kept.any():
        raise DataError(
            f"no event of {table.path} is left in the k-core: of {count(len(users), 'event')} by "
            f"{count(len(np.unique(users)), 'user')} none survives {asked}; choose a smaller k"
        )
    if core.kept.all():
        return events
    dropped = events.rows.filter(pl.Series(~core.kept)).sort()
    reasons = pl.repeat(_REASON, len(dropped), eager=True)
    gone = {
        role: len(np.unique(rows)) - len(np.unique(rows[core.kept]))
        for role, rows in (("user", users), ("item", items))
    }
    message = (
        f"{count(len(dropped), 'event')} left out: {_REASON}; {count(gone['user'], 'user')} and "
        f"{count(gone['item'], 'item')} dropped in {count(core.rounds, 'round')} ({asked})"
    )
    finding = Finding(
        kind=_REASON, count=len(dropped), message=message, where=places(table, dropped.head(5)), rejected=True
    )
    return replace(
        events,
        kept=events.kept.filter(pl.Series(core.kept)),
        rows=events.rows.filter(pl.Series(core.kept)),
        instants=None if events.instants is None else events.instants.filter(pl.Series(core.kept)),
        rejected=pl.concat([events.rejected, rejected_rows(table, dropped, reasons)]),
        findings=(*events.findings, finding),
    )


def parse_k_core(text: str) -> tuple[int, int]:
    """Fewest items of a user and fewest users of an item, from ``5`` or ``user=5,item=3``.

    Raises:
        ConfigError: it is neither.

    Example:
        >>> parse_k_core("5"), parse_k_core("user=5"), parse_k_core("item=3,user=2")
        ((5, 5), (5, 1), (2, 3))
    """
    wrong = ConfigError(
        f"expected --k-core K or user=K,item=K with whole numbers of at least 1, got {text!r}"
    )
    least = {"user": 1, "item": 1}
    given = [part.partition("=") for part in text.split(",")]
    if len(given) == 1 and not given[0][1]:
        given = [("user", "=", text), ("item", "=", text)]
    if len({role for role, _, _ in given}) < len(given):
        raise wrong
    for role, _, number in given:
        if role not in least or not number.isascii() or not number.isdecimal() or int(number) < 1:
            raise wrong
        least[role] = int(number)
    return least["user"], least["item"]


def _numbered(ids: pl.Series) -> _Rows:
    """(E,) the rank of each id among the different ones."""
    return ids.rank("dense").cast(pl.Int64).to_numpy() - 1
