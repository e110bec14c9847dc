"""The sample as a MovieLens export holds everything that careless readers break."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from fuserec.data.sample.movielens import write_movielens
from fuserec.data.sample.world import THEMES, SampleOptions
from fuserec.errors import DataError

OPTIONS = SampleOptions(num_users=40, num_items=150)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_movielens(tmp_path_factory.mktemp("sample") / "films", OPTIONS)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_it_has_the_two_files_with_their_columns_and_windows_line_ends(export: Path) -> None:
    assert {path.name for path in export.iterdir()} == {"ratings.csv", "movies.csv", "SYNTHETIC.md"}
    for name, header in (
        ("ratings.csv", b"userId,movieId,rating,timestamp"),
        ("movies.csv", b"movieId,title,genres"),
    ):
        content = (export / name).read_bytes()
        assert content.startswith(header + b"\r\n")
        assert content.count(b"\n") == content.count(b"\r\n")


def test_titles_have_years_quoted_commas_quotes_and_other_scripts(export: Path) -> None:
    titles = [row["title"] for row in rows(export / "movies.csv")]
    assert len(set(titles)) == len(titles) == 150
    assert all(title[-7:-5] == " (" and title[-5:-1].isdigit() and title[-1] == ")" for title in titles)
    assert sum(", The (" in title for title in titles) > 20
    assert any('"' in title for title in titles)
    assert sum(not title.isascii() for title in titles) >= 4


def test_genres_are_themes_between_bars_and_some_films_have_none(export: Path) -> None:
    genres = [row["genres"] for row in rows(export / "movies.csv")]
    named = [one for some in genres if some != "(no genres listed)" for one in some.split("|")]
    assert set(named) == set(THEMES)
    assert any("|" in some for some in genres)
    assert "(no genres listed)" in genres


def test_ratings_are_half_stars_of_known_films_by_user_and_film(export: Path) -> None:
    ratings = rows(export / "ratings.csv")
    known = [int(row["movieId"]) for row in rows(export / "movies.csv")]
    assert known == sorted(set(known))
    assert known[-1] > len(known)
    keys = [(int(row["userId"]), int(row["movieId"])) for row in ratings]
    assert keys == sorted(set(keys))
    assert {film for _, film in keys} <= set(known)
    assert {user for user, _ in keys} == set(range(1, 41))
    assert {row["rating"] for row in ratings} <= {f"{half / 2}" for half in range(1, 11)}
    assert any(row["rating"].endswith(".5") for row in ratings)


def test_the_same_options_give_the_same_bytes_and_another_seed_others(export: Path, tmp_path: Path) -> None:
    again = write_movielens(tmp_path / "again", OPTIONS)
    other = write_movielens(tmp_path / "other", SampleOptions(num_users=40, num_items=150, seed=1))
    for name in ("ratings.csv", "movies.csv"):
        assert (again / name).read_bytes() == (export / name).read_bytes()
        assert (other / name).read_bytes() != (export / name).read_bytes()


def test_only_such_a_sample_is_overwritten(export: Path, tmp_path: Path) -> None:
    place = write_movielens(tmp_path / "films", OPTIONS)
    write_movielens(place, OPTIONS, overwrite=True)
    (place / "SYNTHETIC.md").unlink()
    with pytest.raises(DataError, match=r"expected SYNTHETIC\.md in the folder to overwrite"):
        write_movielens(place, OPTIONS, overwrite=True)
