from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from fuserec.testing.commands import RunCommand


@pytest.fixture
def shop(fuserec: RunCommand, tmp_path: Path) -> Path:
    (tmp_path / "events.csv").write_text("user,item,time,split\na,1,5,train\na,2,6,test\nb,1,7,train\n")
    done = fuserec("data", "build", tmp_path / "shop", "--events", tmp_path / "events.csv")
    assert done.code == 0, done.err
    return tmp_path / "shop"


def test_export_says_where_and_import_describes(fuserec: RunCommand, shop: Path, tmp_path: Path) -> None:
    done = fuserec("data", "export", shop, tmp_path / "toys", "--format", "mmrec")
    assert (done.code, done.out, done.err) == (0, f"{tmp_path / 'toys'}\n", "")
    done = fuserec("data", "import-mmrec", tmp_path / "toys", tmp_path / "back")
    assert (done.code, done.err) == (0, "")
    assert done.out == (tmp_path / "back" / "summary.md").read_text()
    again = fuserec("data", "import-mmrec", tmp_path / "toys", tmp_path / "back", "--overwrite", "--json")
    assert list(again.json["splits"]) == ["x_label"]
    assert again.json["sources"]["users"]["name"] == "u_id_mapping.csv"
    kept = fuserec(
        "data", "import-mmrec", tmp_path / "toys", tmp_path / "kept", "--repeats", "keep", "--json"
    )
    assert kept.json["options"]["repeats"] == "keep"


def test_what_an_export_leaves_out_is_told_on_stderr(fuserec: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("user,item,shop\na,1,x\nb,2,y\n")
    assert fuserec("data", "build", tmp_path / "data", "--events", tmp_path / "e.csv").code == 0
    done = fuserec("data", "export", tmp_path / "data", tmp_path / "toys", "--format", "recbole")
    assert done.err == "left out, since the format has no place for them: columns of the events (shop)\n"
    assert fuserec("data", "export", tmp_path / "data", tmp_path / "toys", "--format", "recbole").code == 1
    over = fuserec(
        "data", "export", tmp_path / "data", tmp_path / "toys", "--format", "recbole", "--overwrite"
    )
    assert over.code == 0
    split = ["--format", "recbole", "--split", "leave-one-out"]
    assert fuserec("data", "export", tmp_path / "data", tmp_path / "parts", *split).code == 0
    assert (tmp_path / "parts" / "parts.test.inter").exists()
    wrong = fuserec("data", "export", tmp_path / "data", tmp_path / "toys", "--format", "csv")
    assert wrong.err == "error: no format 'csv'; known: 'mmrec', 'recbole'\n"


def test_fetch_shows_the_terms_and_asks_to_accept_them(fuserec: RunCommand, tmp_path: Path) -> None:
    done = fuserec("data", "fetch", "movielens-1m", tmp_path / "movies")
    assert (done.code, done.out) == (1, "")
    lines = done.err.splitlines()
    assert lines[0] == "terms of use of movielens-1m, in short:"
    assert lines[-2] == "- in full: https://files.grouplens.org/datasets/movielens/ml-1m-README.txt"
    assert lines[-1].startswith(
        "error: expected --accept-terms, since movielens-1m may be used on its makers' terms"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_fetch_says_where_and_what_next(fuserec: RunCommand, tmp_path: Path, quiet: list[str]) -> None:
    archive = tmp_path / "ml-latest-small.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("ml/ratings.csv", "userId,movieId\n1,10\n")
        file.writestr("ml/movies.csv", "movieId\n10\n")
    Path(f"{archive}.md5").write_text(hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest())
    options = ["--accept-terms", "--address", tmp_path.as_uri(), *quiet]
    done = fuserec("data", "fetch", "movielens-latest-small", tmp_path / "movies", *options)
    assert (done.code, done.out) == (0, f"{tmp_path / 'movies'}\n")
    assert done.err.splitlines()[-1] == (
        f"next: fuserec data build DATASET --events {tmp_path / 'movies' / 'ratings.csv'} "
        f"--items {tmp_path / 'movies' / 'movies.csv'}"
    )
    assert fuserec("data", "fetch", "movielens-latest-small", tmp_path / "movies", *options).code == 1
    over = fuserec("data", "fetch", "movielens-latest-small", tmp_path / "movies", *options, "--overwrite")
    assert over.code == 0


def test_a_public_set_that_nobody_knows_is_one_line(fuserec: RunCommand, tmp_path: Path) -> None:
    done = fuserec("data", "fetch", "movielens-2m", tmp_path / "films")
    assert done.code == 1
    assert done.err.startswith("error: no public set 'movielens-2m'")
    assert done.err.count("\n") == 1
