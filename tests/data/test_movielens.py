"""A MovieLens export as people have it: two files, one command. Users, films and titles here are invented."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fuserec.data import Dataset
from fuserec.testing.commands import RunCommand

USERS, MOVIES = 60, 12
TITLES = {
    1: "Pond at Night, The (1987)",
    2: "Été à la gare, Un (1962)",
    3: '"Quiet", Said the Owl (2001)',
    4: "鯉のぼり (1998)",
    5: "Nobody Knows the Year",
}
GENRES = {
    1: "Drama|Mystery",
    2: "Comedy",
    3: "Animation|Children|Comedy",
    4: "Drama",
    5: "(no genres listed)",
}


def movie_ids() -> list[int]:
    """As MovieLens has them: with gaps."""
    return [number if number < 6 else number * 1_000 for number in range(1, MOVIES + 1)]


def title_of(movie: int) -> str:
    return TITLES.get(movie, f"Film {movie} (1990)")


def export(folder: Path, *, line_end: str, mark: bytes) -> tuple[Path, Path]:
    """Writes ratings.csv and movies.csv."""
    rng = np.random.default_rng(0)
    ratings: list[list[object]] = [["userId", "movieId", "rating", "timestamp"]]
    for user in range(1, USERS + 1):
        for movie in rng.choice(movie_ids(), size=6, replace=False):
            ratings.append([user, movie, rng.integers(1, 11) / 2, 1_000_000_000 + len(ratings)])
    movies: list[list[object]] = [["movieId", "title", "genres"]]
    for movie in movie_ids():
        movies.append([movie, title_of(movie), GENRES.get(movie, "Drama|War")])
    paths = []
    for name, rows in (("ratings.csv", ratings), ("movies.csv", movies)):
        text = io.StringIO()
        csv.writer(text, lineterminator=line_end).writerows(rows)
        paths.append(folder / name)
        paths[-1].write_bytes(mark + text.getvalue().encode())
    return paths[0], paths[1]


@pytest.mark.parametrize(("line_end", "mark"), [("\r\n", b"\xef\xbb\xbf"), ("\n", b""), ("\r\n", b"")])
def test_an_export_goes_in_with_one_command(
    fuserec: RunCommand, tmp_path: Path, line_end: str, mark: bytes
) -> None:
    ratings, movies = export(tmp_path, line_end=line_end, mark=mark)
    out = tmp_path / "ml"
    assert fuserec("data", "build", out, "--events", ratings, "--items", movies).code == 0
    dataset = Dataset.open(out)
    assert (dataset.num_users, dataset.num_items) == (USERS, MOVIES)
    manifest = dataset.manifest
    assert manifest.columns == {
        "events": {"user": "userId", "item": "movieId", "time": "timestamp", "rating": "rating"},
        "items": {"item": "movieId", "title": "title", "category": "genres"},
    }
    assert (manifest.report.events_read, manifest.report.events_rejected) == (USERS * 6, 0)
    items = pl.read_parquet(out / "items.parquet")
    assert items["item_id"].to_list() == movie_ids()
    assert dict(items.select("item_id", "title").head(5).iter_rows()) == TITLES
    assert dict(items.select("item_id", "category").head(5).iter_rows()) == GENRES


def test_an_export_comes_out_as_recommendations_with_titles(fuserec: RunCommand, tmp_path: Path) -> None:
    ratings, movies = export(tmp_path, line_end="\r\n", mark=b"")
    fuserec("data", "build", tmp_path / "ml", "--events", ratings, "--items", movies)
    trained = fuserec("train", "demo/popularity", "--data", tmp_path / "ml", "--out", tmp_path / "run")
    assert trained.code == 0, trained.err
    answered = fuserec("recommend", tmp_path / "run", "--user", 7, "-k", MOVIES, "--json")
    assert answered.code == 0, answered.err
    answer = json.loads(answered.out)
    told = {item["item_id"]: item["title"] for item in answer["items"]}
    assert len(told) == MOVIES - 6
    assert told == {movie: title_of(movie) for movie in told}
