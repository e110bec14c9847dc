"""The sample corpus in the shape of a MovieLens export: ratings.csv and movies.csv, all of it invented.

The same readers and tastes as in the bookshop, told as films. What trips careless readers of such exports is in
it: Windows line ends, titles with commas in quotes and with quotes doubled, years in titles, other scripts,
several genres between bars, films without any, ids with gaps.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fuserec.data.sample.readers import draw_readers, simulate
from fuserec.data.sample.texts import draw_texts
from fuserec.data.sample.world import THEMES, Books, SampleOptions, draw_books, stream
from fuserec.files import new_folder, write_bytes, write_text

__all__ = ["write_movielens"]

_MARK = "SYNTHETIC.md"
_YEARS = (1931, 2024)
_SHARE_WITHOUT_GENRE = 0.03
_SHARE_HALF_STARS = 0.3
_ODD_TITLES = (
    "\u00c9t\u00e9 \u00e0 la gare, Un",
    '"Quiet", Said the Owl',
    "\u9be9\u306e\u307c\u308a",
    "Night Tram (\u041d\u043e\u0447\u043d\u043e\u0439 \u0442\u0440\u0430\u043c\u0432\u0430\u0439)",
    "Se\u00f1ora de las mareas, La",
)


def write_movielens(place: Path, options: SampleOptions, *, overwrite: bool = False) -> Path:
    """Invent ratings of films and write them as a MovieLens export has them.

    Args:
        place: the folder to be made: ratings.csv, movies.csv, SYNTHETIC.md.
        options: its size and seed; the same options give the same bytes.
        overwrite: replace such a folder that stands there.

    Returns:
        ``place``.

    Raises:
        DataError: the folder exists already, is to be overwritten and is no such sample, or cannot be written.
    """
    films = draw_books(options)
    events = simulate(options, films, draw_readers(options))
    rng = stream(options, "movielens")
    rows = np.arange(len(films))
    ids = rows + 1 + rows * rows // 50  # without gaps at first, then with ever wider ones, as there
    stars = np.maximum(0.5, events.rating - 0.5 * (rng.random(len(events)) < _SHARE_HALF_STARS))
    order = np.lexsort((ids[events.item], events.user))
    ratings = zip(
        (events.user[order] + 1).tolist(),
        ids[events.item[order]].tolist(),
        stars[order].tolist(),
        events.seconds[order].tolist(),
        strict=True,
    )
    titles = _titles(draw_texts(options, films).titles, rng)
    movies = zip(ids.tolist(), titles, _genres(films, rng), strict=True)
    with new_folder(Path(place), overwrite=overwrite, mark=_MARK) as folder:
        _write_csv(folder / "ratings.csv", ("userId", "movieId", "rating", "timestamp"), ratings)
        _write_csv(folder / "movies.csv", ("movieId", "title", "genres"), movies)
        write_text(folder / _MARK, _readme(options, len(events)))
    return Path(place)


def _titles(names: Sequence[str], rng: np.random.Generator) -> list[str]:
    """As exports write them: the article behind a comma, the year in brackets."""
    plain = [re.sub(r"^(The|An?) (.+)$", r"\2, \1", name) for name in names]
    for row, odd in zip(rng.permutation(len(plain)).tolist(), _ODD_TITLES, strict=False):
        plain[row] = odd
    years = rng.integers(*_YEARS, len(plain)).tolist()
    return [f"{name} ({year})" for name, year in zip(plain, years, strict=True)]


def _genres(films: Books, rng: np.random.Generator) -> list[str]:
    without: NDArray[np.bool_] = rng.random(len(films)) < _SHARE_WITHOUT_GENRE
    return [
        "(no genres listed)"
        if without[row]
        else "|".join(THEMES[theme] for theme in (films.theme[row], films.second[row]) if theme >= 0)
        for row in range(len(films))
    ]


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def _readme(options: SampleOptions, events: int) -> str:
    return f"""# Films that nobody made (SYNTHETIC sample)

**Everything here is synthetic.** fuserec invented the films, the users and all {events} ratings; only the shape of
the two files is that of a MovieLens export. It is in the public domain (CC0).

Made by `fuserec data sample --format movielens` with --users {options.num_users} --items {options.num_items} --seed {options.seed}.
"""
