"""The sample corpus as a folder of raw files, such as a user would bring."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fuserec.data.sample.features import IMAGE_WIDTH, TEXT_WIDTH, describe_picture, text_features
from fuserec.data.sample.pictures import draw_picture, encode_png
from fuserec.data.sample.readers import Events, Readers, draw_readers, simulate
from fuserec.data.sample.style import Style
from fuserec.data.sample.texts import Texts, draw_texts
from fuserec.data.sample.world import (
    ARRIVALS,
    HOURS,
    NUM_CIRCLES,
    STYLE_PARTS,
    THEMES,
    Books,
    SampleOptions,
    draw_books,
    stream,
)
from fuserec.files import new_folder, write_text

__all__ = ["NAME", "draw_cover", "write_sample"]

NAME = "The Lantern Bookshop (SYNTHETIC sample)"

_ODD_USERS = (
    "0007",
    "7",
    "Zo\u00eb",
    "\u0447\u0438\u0442\u0430\u0442\u0435\u043b\u044c-12",
    "user 14",
    "o'brien, k.",
    "1e5",
)
_ODD_ITEMS = ("00042", "42", "B\u00fccher-1", "\u672c-7", "B-0100", "b 17, second copy", "null")


def write_sample(
    place: Path,
    options: SampleOptions,
    *,
    overwrite: bool = False,
    on_picture: Callable[[], None] | None = None,
) -> Path:
    """Invent a bookshop and write it as a folder of raw files.

    Args:
        place: the folder to be made: events.csv, items.csv, images/, features/, truth.json, README.md.
        options: its size and seed; the same options give the same bytes.
        overwrite: replace a sample that stands there.
        on_picture: called after every item, with or without a picture.

    Returns:
        ``place``.

    Raises:
        DataError: the folder exists already, is to be overwritten and is no sample, or cannot be written.
    """
    with new_folder(Path(place), overwrite=overwrite, mark="truth.json") as folder:
        books, readers = draw_books(options), draw_readers(options)
        texts, events = draw_texts(options, books), simulate(options, books, readers)
        user_ids = _ids("u", options.num_users, _ODD_USERS, stream(options, "user ids"))
        item_ids = _ids("b-", options.num_items, _ODD_ITEMS, stream(options, "item ids"))
        _write_pictures(folder, options, books, on_picture)
        _write_items(folder / "items.csv", options, books, texts, item_ids)
        _write_csv(
            folder / "events.csv",
            ("user_id", "item_id", "timestamp", "rating"),
            zip(
                [user_ids[user] for user in events.user],
                [item_ids[item] for item in events.item],
                events.seconds.tolist(),
                events.rating.tolist(),
                strict=True,
            ),
        )
        words = [f"{title}. {text}" for title, text in zip(texts.titles, texts.descriptions, strict=True)]
        np.save(folder / "features" / "text.npy", text_features(words), allow_pickle=False)
        truth = _truth(options, books, readers, events, user_ids, item_ids)
        write_text(folder / "truth.json", json.dumps(truth, ensure_ascii=False, allow_nan=False) + "\n")
        write_text(folder / "README.md", _readme(options, books, events))
    return Path(place)


def draw_cover(options: SampleOptions, books: Books, row: int) -> Image.Image:
    """The picture of one book."""
    return draw_picture(
        THEMES[books.theme[row]],
        HOURS[books.hour[row]],
        Style(**dict(zip(STYLE_PARTS, books.style[row].tolist(), strict=True))),
        stream(options, "pictures", row),
    )


def _write_pictures(
    folder: Path, options: SampleOptions, books: Books, on_picture: Callable[[], None] | None
) -> None:
    (folder / "images").mkdir()
    (folder / "features").mkdir()
    features = np.zeros((len(books), IMAGE_WIDTH), dtype=np.float32)
    for row in range(len(books)):
        if books.has_picture[row]:
            picture = draw_cover(options, books, row)
            (folder / _image(row)).write_bytes(encode_png(picture))
            features[row] = describe_picture(picture)
        if on_picture is not None:
            on_picture()
    np.save(folder / "features" / "image.npy", features, allow_pickle=False)


def _image(row: int) -> str:
    """A picture is named by its line, not by its id: ids may differ in case only, or hold a slash."""
    return f"images/{row:05d}.png"


def _write_items(
    path: Path, options: SampleOptions, books: Books, texts: Texts, item_ids: Sequence[str]
) -> None:
    rng = stream(options, "prices")
    pounds = np.exp(rng.normal(np.log(13), 0.35, len(books))).astype(np.int64)
    has_price = rng.random(len(books)) >= 0.04
    rows = []
    for row in range(len(books)):
        themes = [THEMES[theme] for theme in (books.theme[row], books.second[row]) if theme >= 0]
        price = f"{pounds[row]}.{'90' if row % 2 else '50'}" if has_price[row] else ""
        image = _image(row) if books.has_picture[row] else ""
        rows.append(
            (item_ids[row], texts.titles[row], "|".join(themes), texts.descriptions[row], price, image)
        )
    _write_csv(path, ("item_id", "title", "category", "description", "price", "image"), rows)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _ids(prefix: str, count: int, odd: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Plain ids, and a few such as real logs have: other scripts, spaces, commas, zeros in front."""
    width = max(4, len(str(count)))
    ids = [f"{prefix}{row + 1:0{width}d}" for row in range(count)]
    for row, name in zip(rng.permutation(count)[: len(odd)].tolist(), odd, strict=True):
        ids[row] = name
    return ids


def _truth(
    options: SampleOptions,
    books: Books,
    readers: Readers,
    events: Events,
    user_ids: Sequence[str],
    item_ids: Sequence[str],
) -> dict[str, object]:
    """All that was planted, by columns; rows as in the files."""
    return {
        "synthetic": True,
        "name": NAME,
        "seed": options.seed,
        "themes": THEMES,
        "hours": HOURS,
        "arrivals": ARRIVALS,
        "circles": NUM_CIRCLES,
        "items": {
            "item_id": item_ids,
            "theme": books.theme.tolist(),
            "second_theme": books.second.tolist(),
            "hour": books.hour.tolist(),
            "series": books.series.tolist(),
            "circle": books.circle.tolist(),
            "style": _rounded(books.style),
            "log_popularity": _rounded(books.log_popularity),
            "arrival": books.arrival.tolist(),
            "release_day": books.release.tolist(),
        },
        "users": {
            "user_id": user_ids,
            "taste": _rounded(readers.taste),
            "hour": _rounded(readers.hour),
            "favourite_series": readers.favourites.tolist(),
            "circles": readers.circles.tolist(),
            "at_launch": readers.at_launch.tolist(),
        },
        "events": {
            "session": events.session.tolist(),
            "shelf": events.shelf.tolist(),
            "series": events.series.tolist(),
        },
    }


def _rounded(values: NDArray[np.float64]) -> list[object]:
    rounded: list[object] = np.round(values, 4).tolist()
    return rounded


def _readme(options: SampleOptions, books: Books, events: Events) -> str:
    return f"""# {NAME}

**Everything here is synthetic.** fuserec invented it: the shop, the books, the covers, the readers and every
event. No person and no real book is behind any of it. It is in the public domain (CC0).

| file | what |
|---|---|
| events.csv | {len(events)} events of {options.num_users} readers: user_id, item_id, timestamp (seconds UTC), rating |
| items.csv | {len(books)} books: item_id, title, category (several are divided by a bar), description, price, image |
| images/ | {int(books.has_picture.sum())} drawn covers, marked SYNTHETIC at the foot; {int((~books.has_picture).sum())} books have none |
| features/text.npy | a row a book: hashed TF-IDF of title and description, reduced to {TEXT_WIDTH} numbers |
| features/image.npy | a row a book: colours and edges of the cover; zero where there is none |
| truth.json | what was planted, for tests to recover; models must not read it |

Made by `fuserec data sample` with --users {options.num_users} --items {options.num_items} --seed {options.seed}.
"""
