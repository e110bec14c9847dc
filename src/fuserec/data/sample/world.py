"""The invented bookshop: its shelves, and the hidden facts about every book.

Text and pictures show a book's themes, its hour and the series it belongs to. Its reading circle, and how popular
it is, show in the interactions only. So neither content nor interactions alone know everything.

Shape legend
    I  items
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fuserec.errors import ConfigError

__all__ = [
    "ALWAYS",
    "ANNOUNCED",
    "ARRIVALS",
    "DAYS",
    "HOURS",
    "LATER",
    "LAUNCH",
    "NUM_CIRCLES",
    "SERIES_PER_THEME",
    "STYLE_PARTS",
    "THEMES",
    "Books",
    "SampleOptions",
    "draw_books",
    "stream",
]

THEMES = (
    "Sea tales",
    "Mountain walks",
    "City lights",
    "Garden lore",
    "Clockwork",
    "Star maps",
    "Desert roads",
    "Winter hearth",
    "Deep forest",
    "Sky voyages",
    "River towns",
    "Coral depths",
)
HOURS = ("dawn", "day", "dusk", "night")
STYLE_PARTS = ("place", "size", "amount", "turn")
NUM_CIRCLES = 16
SERIES_PER_THEME = 8
DAYS = 730

ARRIVALS = ("always", "later", "launch", "announced")
ALWAYS, LATER, LAUNCH, ANNOUNCED = range(4)

_SHARE_LATER, _SHARE_LAUNCH, _SHARE_ANNOUNCED = 0.3, 0.02, 0.03
_SHARE_SECOND_THEME, _MAIN_SHARE = 0.2, 0.65
_SHARE_WITHOUT_PICTURE = 0.12
_STYLE_SPREAD = 0.1
_ZIPF_EXPONENT, _ZIPF_SHIFT = 0.8, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOptions:
    """How large the sample is.

    Attributes:
        num_users: readers, each with at least five events.
        num_items: books, those that nobody has read included.
        seed: of everything random; the same options give the same bytes.
    """

    num_users: int = 2000
    num_items: int = 1200
    seed: int = 7

    def __post_init__(self) -> None:
        if self.num_users < 20:
            raise ConfigError(f"num_users must be at least 20, got {self.num_users}")
        if self.num_items < 60:
            raise ConfigError(f"num_items must be at least 60, five a theme, got {self.num_items}")
        if self.seed < 0:
            raise ConfigError(f"seed must be at least 0, got {self.seed}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """The hidden facts.

    Attributes:
        theme: (I,) index into `THEMES`.
        second: (I,) a second theme, -1 for most.
        hour: (I,) index into `HOURS`.
        series: (I,) theme * `SERIES_PER_THEME` + which of its series: books about the same hero.
        style: (I, 4) 0 .. 1, the parts in the order of `STYLE_PARTS`: books on the same shelf (theme and hour)
            share the composition, books of one series the colours.
        circle: (I,) the reading circle in which word of the book travels; nothing in the content tells it.
        log_popularity: (I,) a Zipf law's logarithm.
        arrival: (I,) index into `ARRIVALS`.
        release: (I,) day from which it can be read.
        has_picture: (I,) True where there is one.
    """

    theme: NDArray[np.int64]
    second: NDArray[np.int64]
    hour: NDArray[np.int64]
    series: NDArray[np.int64]
    style: NDArray[np.float64]
    circle: NDArray[np.int64]
    log_popularity: NDArray[np.float64]
    arrival: NDArray[np.int64]
    release: NDArray[np.int64]
    has_picture: NDArray[np.bool_]

    def __len__(self) -> int:
        """Number of books."""
        return len(self.theme)

    def by_theme(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., I) for each book its theme's entry of ``values`` (..., themes), or .65 and .35 of its two."""
        mixed = _MAIN_SHARE * values[..., self.theme] + (1 - _MAIN_SHARE) * values[..., self.second]
        return np.where(self.second >= 0, mixed, values[..., self.theme])


def stream(options: SampleOptions, name: str, *rows: int) -> np.random.Generator:
    """The generator of one purpose, and of one row where given: drawing more for one changes no other."""
    key = (zlib.crc32(name.encode()), *rows)
    return np.random.default_rng(np.random.SeedSequence(options.seed, spawn_key=key))


def draw_books(options: SampleOptions) -> Books:
    """Draw the hidden facts about every book."""
    rng = stream(options, "books")
    count = options.num_items
    theme = rng.permutation(np.arange(count) % len(THEMES))
    hour = rng.choice(len(HOURS), size=count, p=(0.2, 0.35, 0.25, 0.2))
    other = (theme + rng.integers(1, len(THEMES), size=count)) % len(THEMES)
    series = theme * SERIES_PER_THEME + rng.integers(SERIES_PER_THEME, size=count)
    composition = rng.random((len(THEMES), len(HOURS), 2))[theme, hour]
    colours = rng.random((len(THEMES) * SERIES_PER_THEME, 2))[series]
    centre = np.concatenate([composition, colours], axis=1)
    rank = rng.permutation(count)
    arrival = _draw_arrival(count, rng)
    days = rng.integers(30, DAYS - 2, size=count)
    return Books(
        theme=theme,
        second=np.where(rng.random(count) < _SHARE_SECOND_THEME, other, -1),
        hour=hour,
        series=series,
        style=np.clip(centre + rng.normal(0, _STYLE_SPREAD, centre.shape), 0, 1),
        circle=rng.permutation(np.arange(count) % NUM_CIRCLES),
        log_popularity=-_ZIPF_EXPONENT * np.log(rank + _ZIPF_SHIFT),
        arrival=arrival,
        release=np.select([arrival == LATER, arrival >= LAUNCH], [days, DAYS], default=0),
        has_picture=rng.permutation(count) >= round(_SHARE_WITHOUT_PICTURE * count),
    )


def _draw_arrival(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    shares = ((LATER, _SHARE_LATER), (LAUNCH, _SHARE_LAUNCH), (ANNOUNCED, _SHARE_ANNOUNCED))
    arrival = np.full(count, ALWAYS)
    order, start = rng.permutation(count), 0
    for code, share in shares:
        size = max(1, round(share * count))
        arrival[order[start : start + size]] = code
        start += size
    return arrival
