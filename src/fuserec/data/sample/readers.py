"""Readers and what they read: a lasting taste, a drifting one, and evenings that follow one shelf.

The process, with its constants, is written as equations in docs/reference/sample-corpus.md.

Shape legend
    U  users   I  items   E  events   S  sessions of one user   T  themes   M  months
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fuserec.data.sample.world import (
    DAYS,
    HOURS,
    LATER,
    LAUNCH,
    NUM_CIRCLES,
    SERIES_PER_THEME,
    THEMES,
    Books,
    SampleOptions,
    stream,
)

__all__ = ["FIRST_SECOND", "Events", "Readers", "draw_readers", "simulate"]

FIRST_SECOND = 1_672_531_200  # 2023-01-01 00:00 UTC
_DAY, _MONTH = 86_400, 30

_MEDIAN_HISTORY, _HISTORY_SPREAD = 30, 0.75
_MEAN_SESSION = 4.0
_TASTE, _HOUR, _SERIES, _CIRCLE, _DRIFT = 5.0, 1.5, 2.8, 1.8, 0.7
_FOLLOWED_THEME, _FOLLOWED_HOUR, _FOLLOWED_SERIES = 2.0, 1.0, 2.0
_SHARE_BROWSING, _SHARE_SERIES = 0.3, 0.25
_FAVOURITES = 4
_NOVELTY, _NOVELTY_DAYS = 1.5, 45
_PERSISTENCE = 0.85
_SHARE_AT_LAUNCH = 0.06


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """The planted tastes.

    Attributes:
        taste: (U, T) lasting taste, each row sums to 1.
        hour: (U, 4) lasting preference for hours, each row sums to 1.
        favourites: (U, 4) the series each looks out for, mostly of liked themes.
        circles: (U, 2) the two reading circles each belongs to.
        drift: (U, M, T) the slow part: an autoregressive walk over months, of unit variance.
        history: (U,) number of events, the launch evening not counted.
        at_launch: (U,) True for those who come to the launch evening.
    """

    taste: NDArray[np.float64]
    hour: NDArray[np.float64]
    favourites: NDArray[np.int64]
    circles: NDArray[np.int64]
    drift: NDArray[np.float64]
    history: NDArray[np.int64]
    at_launch: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """What was read, in the order of time.

    Attributes:
        user: (E,) row of the reader.
        item: (E,) row of the book.
        seconds: (E,) seconds UTC.
        rating: (E,) 1 .. 5.
        session: (E,) the reader's session, counted from 0; the launch evening is the last.
        shelf: (E,) theme * 4 + hour that the session followed, -1 where it followed none.
        series: (E,) series that the session followed, -1 where it followed none.
    """

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    seconds: NDArray[np.int64]
    rating: NDArray[np.int64]
    session: NDArray[np.int64]
    shelf: NDArray[np.int64]
    series: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of events."""
        return len(self.user)


def draw_readers(options: SampleOptions) -> Readers:
    """Draw every reader's tastes."""
    rng = stream(options, "readers")
    count = options.num_users
    months = -(-DAYS // _MONTH)
    drift = rng.normal(size=(count, months, len(THEMES)))
    for month in range(1, months):
        drift[:, month] = _PERSISTENCE * drift[:, month - 1] + np.sqrt(1 - _PERSISTENCE**2) * drift[:, month]
    first = rng.integers(NUM_CIRCLES, size=count)
    longest = min(400, options.num_items // 3)
    history = np.exp(rng.normal(np.log(_MEDIAN_HISTORY), _HISTORY_SPREAD, size=count))
    taste = rng.dirichlet(np.full(len(THEMES), 0.25), size=count)
    wish = np.repeat(_TASTE * taste, SERIES_PER_THEME, axis=1)
    wish += rng.gumbel(size=wish.shape)
    return Readers(
        taste=taste,
        hour=rng.dirichlet(np.full(len(HOURS), 0.6), size=count),
        favourites=np.argsort(-wish, axis=1, kind="stable")[:, :_FAVOURITES],
        circles=np.stack([first, (first + rng.integers(1, NUM_CIRCLES, size=count)) % NUM_CIRCLES], axis=1),
        drift=drift,
        history=np.clip(np.rint(history).astype(np.int64), 5, longest),
        at_launch=rng.random(count) < _SHARE_AT_LAUNCH,
    )


def simulate(options: SampleOptions, books: Books, readers: Readers) -> Events:
    """Let every reader choose books, session by session."""
    columns: list[NDArray[np.int64]] = []
    fit: list[NDArray[np.float64]] = []
    for user in range(options.num_users):
        rng = stream(options, "events", user)
        lasting = _TASTE * books.by_theme(readers.taste[user]) + _HOUR * readers.hour[user][books.hour]
        lasting += _SERIES * (books.series[:, None] == readers.favourites[user]).any(axis=1)
        lasting += _CIRCLE * (books.circle[:, None] == readers.circles[user]).any(axis=1)
        events = _one_reader(user, books, readers, lasting, rng)
        columns.append(events)
        fit.append(lasting[events[1]])
    table = np.concatenate(columns, axis=1)
    score = np.concatenate(fit)
    noise = stream(options, "ratings").normal(size=len(score))
    rating = np.clip(np.rint(3.7 + 0.7 * (score - score.mean()) / score.std() + 0.8 * noise), 1, 5).astype(
        np.int64
    )
    order = np.lexsort((table[0], table[2]))
    user, item, seconds, session, shelf, series = table[:, order]
    return Events(
        user=user,
        item=item,
        seconds=seconds,
        rating=rating[order],
        session=session,
        shelf=shelf,
        series=series,
    )


def _one_reader(
    user: int,
    books: Books,
    readers: Readers,
    lasting: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """(6, E) user, item, seconds, session, shelf and series of one reader's events, in the order of time."""
    lengths = _session_lengths(int(readers.history[user]), rng)
    days = _session_days(len(lengths), rng)
    drift = _DRIFT * readers.drift[user, days // _MONTH]
    shelf, series = _intents(readers, user, drift, rng)

    interest = drift.copy()
    on_shelf, on_series = np.flatnonzero(shelf >= 0), np.flatnonzero(series >= 0)
    interest[on_shelf, shelf[on_shelf] // len(HOURS)] += _FOLLOWED_THEME
    utility = (books.log_popularity + lasting + books.by_theme(interest)).astype(np.float32)
    utility[on_shelf] += np.float32(_FOLLOWED_HOUR) * (books.hour == shelf[on_shelf, None] % len(HOURS))
    utility[on_series] += np.float32(_FOLLOWED_SERIES) * (books.series == series[on_series, None])
    # The smallest of log(exponential noise) - utility is a draw from the softmax of the utility.
    cost = rng.standard_exponential(utility.shape, dtype=np.float32)
    np.log(np.maximum(cost, 1e-30, out=cost), out=cost)
    cost -= utility
    cost[:, books.arrival > LATER] = np.inf
    later = np.flatnonzero(books.arrival == LATER)
    age = days[:, None] - books.release[later]
    fresh = _NOVELTY * np.exp(-np.maximum(age, 0) / _NOVELTY_DAYS)
    cost[:, later] = np.where(age < 0, np.inf, cost[:, later] - fresh)

    rows = []
    for session, length in enumerate(lengths.tolist()):
        chosen = np.argpartition(cost[session], length)[:length]
        chosen = chosen[np.argsort(cost[session, chosen], kind="stable")]
        cost[:, chosen] = np.inf
        start = FIRST_SECOND + int(days[session]) * _DAY + int(rng.integers(17 * 3600, 22 * 3600))
        seconds = start + np.cumsum(rng.integers(60, 900, size=length))
        same = np.array([[session], [shelf[session]], [series[session]]])
        rows.append(np.stack([np.full(length, user), chosen, seconds, *np.repeat(same, length, axis=1)]))
    if readers.at_launch[user]:
        new = np.flatnonzero(books.arrival == LAUNCH)
        wish = lasting[new] + rng.gumbel(size=len(new))
        second = FIRST_SECOND + DAYS * _DAY + int(rng.integers(17 * 3600, 22 * 3600))
        rows.append(np.array([[user], [new[wish.argmax()]], [second], [len(lengths)], [-1], [-1]]))
    return np.concatenate(rows, axis=1)


def _session_lengths(total: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Lengths of at least 1, geometric, that sum to the total."""
    lengths = rng.geometric(1 / _MEAN_SESSION, size=total)
    ends = np.minimum(np.cumsum(lengths), total)
    ends = ends[: int(np.searchsorted(ends, total)) + 1]
    return np.diff(ends, prepend=0)


def _session_days(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Different days between joining and leaving, in order."""
    joined = int(rng.integers(0, DAYS // 2))
    left = int(rng.integers(joined + DAYS // 3, DAYS)) if rng.random() < 0.5 else DAYS
    span = max(left - joined, count)
    return np.sort(rng.permutation(span)[:count]) + min(joined, DAYS - span)


def _intents(
    readers: Readers, user: int, drift: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(S,) shelf and (S,) series that each session follows; -1 where none, both when browsing.

    A shelf is followed the likelier, the better the reader likes it at the time.
    """
    wish = (_TASTE * readers.taste[user] + drift)[:, :, None] + _HOUR * readers.hour[user]
    wish = wish.reshape(len(drift), -1)
    shelf = (wish + rng.gumbel(size=wish.shape)).argmax(axis=1)
    series = rng.choice(readers.favourites[user], size=len(drift))
    kind = rng.random(len(drift))
    follows_series = kind < _SHARE_SERIES
    follows_shelf = kind >= _SHARE_SERIES + _SHARE_BROWSING
    return np.where(follows_shelf, shelf, -1), np.where(follows_series, series, -1)
