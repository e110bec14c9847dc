"""The sample corpus: the same bytes for a seed, honest files, and a structure that can be found again."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from fuserec.cli.sample import sample as sample_command
from fuserec.data.build import Sources, build
from fuserec.data.sample.features import IMAGE_WIDTH, TEXT_WIDTH, describe_picture, text_features
from fuserec.data.sample.readers import FIRST_SECOND, Events, draw_readers, simulate
from fuserec.data.sample.texts import draw_texts
from fuserec.data.sample.world import (
    ALWAYS,
    ANNOUNCED,
    DAYS,
    HOURS,
    LATER,
    LAUNCH,
    NUM_CIRCLES,
    THEMES,
    SampleOptions,
    draw_books,
)
from fuserec.data.sample.write import draw_cover, write_sample
from fuserec.data.schema import BuildOptions
from fuserec.errors import ConfigError, DataError
from fuserec.files import read_json, sha256_file

SMALL = SampleOptions(num_users=60, num_items=84, seed=3)
MIDDLE = SampleOptions(num_users=400, num_items=600, seed=5)


@dataclass
class Sample:
    folder: Path
    items: list[dict[str, str]]
    events: list[dict[str, str]]
    truth: dict[str, Any]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    folder = write_sample(tmp_path_factory.mktemp("sample") / "shop", SMALL)
    return Sample(
        folder, _read(folder / "items.csv"), _read(folder / "events.csv"), read_json(folder / "truth.json")
    )


@pytest.fixture(scope="module")
def events() -> Events:
    return simulate(MIDDLE, draw_books(MIDDLE), draw_readers(MIDDLE))


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(small: Sample, tmp_path: Path) -> None:
    again = write_sample(tmp_path / "again", SMALL)
    assert _hashes(again) == _hashes(small.folder)
    other = _hashes(write_sample(tmp_path / "other", SampleOptions(num_users=20, num_items=60, seed=4)))
    assert not set(other.values()) & set(_hashes(small.folder).values())


def test_more_readers_leave_the_books_as_they_are() -> None:
    fewer = SampleOptions(num_users=20, num_items=MIDDLE.num_items, seed=MIDDLE.seed)
    books = draw_books(fewer)
    assert draw_texts(fewer, books) == draw_texts(MIDDLE, draw_books(MIDDLE))
    assert np.array_equal(books.style, draw_books(MIDDLE).style)


def test_it_says_that_it_is_synthetic_wherever_it_shows(small: Sample) -> None:
    assert "SYNTHETIC" in (small.folder / "README.md").read_text(encoding="utf-8").splitlines()[0]
    assert small.truth["synthetic"] is True
    assert "SYNTHETIC" in small.truth["name"]
    for path in (small.folder / "images").iterdir():
        foot = np.asarray(Image.open(path).convert("L"))[150:160, 20:110]
        assert foot.min() < foot.max() - 40, f"no mark on {path.name}"


def test_ids_are_of_every_kind_and_events_name_items_of_the_catalogue(small: Sample) -> None:
    item_ids = [row["item_id"] for row in small.items]
    assert len(set(item_ids)) == len(item_ids) == 84
    assert {"00042", "42", "null", "b 17, second copy"} <= set(item_ids)
    user_ids = {row["user_id"] for row in small.events}
    assert len(user_ids) == 60
    assert {"0007", "7", "Zo\u00eb", "1e5"} <= user_ids
    assert {row["item_id"] for row in small.events} <= set(item_ids)
    assert small.truth["items"]["item_id"] == item_ids


def test_events_stand_in_the_order_of_time_without_repeats(small: Sample) -> None:
    times = [int(row["timestamp"]) for row in small.events]
    assert times == sorted(times)
    assert times[0] >= FIRST_SECOND
    assert times[-1] < FIRST_SECOND + (DAYS + 2) * 86_400
    pairs = Counter((row["user_id"], row["item_id"]) for row in small.events)
    assert max(pairs.values()) == 1
    own = Counter((row["user_id"], row["timestamp"]) for row in small.events)
    assert max(own.values()) == 1
    assert {row["rating"] for row in small.events} == {"1", "2", "3", "4", "5"}


def test_image_features_are_what_the_pictures_in_the_folder_give(small: Sample) -> None:
    features = np.load(small.folder / "features" / "image.npy", allow_pickle=False)
    assert features.shape == (84, IMAGE_WIDTH)
    assert features.dtype == np.float32
    without = 0
    for row, item in enumerate(small.items):
        if item["image"]:
            with Image.open(small.folder / item["image"]) as picture:
                assert picture.size == (128, 160)
                np.testing.assert_array_equal(features[row], describe_picture(picture))
        else:
            without += 1
            assert not features[row].any()
    assert without == 10
    assert len(list((small.folder / "images").iterdir())) == 74


def test_text_features_are_what_titles_and_descriptions_give(small: Sample) -> None:
    features = np.load(small.folder / "features" / "text.npy", allow_pickle=False)
    assert features.shape == (84, TEXT_WIDTH)
    words = [f"{item['title']}. {item['description']}" for item in small.items]
    np.testing.assert_array_equal(features, text_features(words))
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-3)


def test_text_features_keep_the_cosines_of_the_full_matrix() -> None:
    a, b, other, empty = text_features(["red fox red", "fox red", "tall ship", ""])
    # The first two share all words, the third has other ones, the fourth none.
    assert float(a @ b) > 0.95
    assert abs(float(a @ other)) < 1e-3
    assert not empty.any()


def test_a_picture_of_two_halves_has_two_colours_and_upright_edges() -> None:
    pixels = np.zeros((40, 40, 3), dtype=np.uint8)
    pixels[:, 20:] = 255
    features = describe_picture(Image.fromarray(pixels))
    colours, edges = features[:64], features[64:].reshape(6, 8)
    assert colours[0] == colours[63] == pytest.approx(0.5**0.5)
    assert np.count_nonzero(colours) == 2
    assert (edges > 0).any(axis=0).tolist() == [True] + 7 * [False]
    assert not describe_picture(Image.new("RGB", (8, 8), (200, 10, 10)))[64:].any()


def test_titles_differ_and_articles_fit() -> None:
    texts = draw_texts(MIDDLE, draw_books(MIDDLE))
    assert len(set(texts.titles)) == 600
    assert all(title[0].isupper() for title in texts.titles)
    for text in (*texts.titles, *texts.descriptions):
        assert not re.search(r"\b[Aa] [AEIOUaeiou]|\b[Aa]n [^AEIOUaeiou]", text), text
    assert 20 < sum(not text for text in texts.descriptions) < 60
    assert max(text.count(".") for text in texts.descriptions) == 3


def test_a_title_drawn_again_becomes_the_next_book_of_its_series() -> None:
    options = SampleOptions(num_users=20, num_items=6000, seed=1)
    titles = draw_texts(options, draw_books(options)).titles
    assert len(set(titles)) == 6000
    seconds = [title for title in titles if title.endswith(", Book II")]
    assert seconds
    assert all(title.removesuffix(", Book II") in titles for title in seconds)


def test_announced_books_have_no_event_and_later_ones_none_before_their_release(events: Events) -> None:
    books = draw_books(MIDDLE)
    counts = np.bincount(events.item, minlength=len(books))
    assert not counts[books.arrival == ANNOUNCED].any()
    day = (events.seconds - FIRST_SECOND) // 86_400
    on_time = day >= books.release[events.item]
    assert on_time.all()
    assert counts[books.arrival == LATER].sum() > 0
    assert (books.release[books.arrival == ALWAYS] == 0).all()


def test_books_of_the_launch_evening_are_cold_when_the_last_event_is_held_out(events: Events) -> None:
    books = draw_books(MIDDLE)
    last = np.full(MIDDLE.num_users, -1)
    last[events.user] = np.arange(len(events))
    at_launch = np.flatnonzero(books.arrival[events.item] == LAUNCH)
    assert len(at_launch) == draw_readers(MIDDLE).at_launch.sum() > 0
    assert set(at_launch.tolist()) <= set(last.tolist())


def test_histories_are_long_and_uneven_and_popularity_is_skewed(events: Events) -> None:
    lengths = np.bincount(events.user, minlength=MIDDLE.num_users)
    assert lengths.min() >= 5
    assert 25 <= np.median(lengths) <= 35
    assert lengths.max() > 100
    counts = np.sort(np.bincount(events.item, minlength=MIDDLE.num_items))[::-1]
    assert counts[:60].sum() > 0.25 * counts.sum()  # a tenth of the books


def test_the_lasting_taste_can_be_found_in_what_was_read(events: Events) -> None:
    books, readers = draw_books(MIDDLE), draw_readers(MIDDLE)
    read = np.zeros((MIDDLE.num_users, len(THEMES)))
    np.add.at(read, (events.user, books.theme[events.item]), 1)
    assert np.mean(read.argmax(axis=1) == readers.taste.argmax(axis=1)) > 0.6  # a twelfth by chance


def test_interests_drift_over_months(events: Events) -> None:
    """Next to the lasting taste: the readings of one month follow that month's drift, not that of a year before."""
    books, readers = draw_books(MIDDLE), draw_readers(MIDDLE)
    month = np.minimum((events.seconds - FIRST_SECOND) // (30 * 86_400), readers.drift.shape[1] - 1)
    theme = books.theme[events.item]
    now = readers.drift[events.user, month, theme].mean()
    then = readers.drift[events.user, (month + 12) % readers.drift.shape[1], theme].mean()
    assert now > then + 0.1


def test_sessions_follow_one_shelf_or_one_series(events: Events) -> None:
    books = draw_books(MIDDLE)
    on_shelf, on_series, browsing = (
        events.shelf >= 0,
        events.series >= 0,
        (events.shelf < 0) & (events.series < 0),
    )
    assert not (on_shelf & on_series).any()
    theme = books.theme[events.item]
    fits = theme[on_shelf] == events.shelf[on_shelf] // len(HOURS)
    shuffled = np.random.default_rng(0).permutation(events.shelf[on_shelf]) // len(HOURS)
    assert fits.mean() > 2 * (theme[on_shelf] == shuffled).mean()
    found = np.mean(books.series[events.item][on_series] == events.series[on_series])
    assert found > 0.15  # 1 of 96 by chance
    assert 0.2 < browsing.mean() < 0.4


def test_sessions_are_short_bursts_far_apart(events: Events) -> None:
    for user in range(20):
        mine = np.flatnonzero(events.user == user)
        gaps = np.diff(events.seconds[mine])
        same = np.diff(events.session[mine]) == 0
        assert (gaps[same] < 900).all()
        assert (np.diff(events.session[mine]) >= 0).all()
        assert (gaps[~same] > 3600).all()


def _share_alike(features: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """How often an item's nearest neighbour by cosine bears its label."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    return float(np.mean(labels[cosine.argmax(axis=1)] == labels))


def test_pictures_tell_theme_and_hour_but_not_the_circle() -> None:
    options = SampleOptions(num_users=20, num_items=192, seed=2)
    books = draw_books(options)
    features = np.stack([describe_picture(draw_cover(options, books, row)) for row in range(192)])
    assert _share_alike(features, books.theme) > 0.95
    assert _share_alike(features, books.hour) > 0.85
    assert _share_alike(features, books.circle) < 3 / NUM_CIRCLES


def test_texts_tell_theme_and_series_but_not_the_circle() -> None:
    books = draw_books(MIDDLE)
    texts = draw_texts(MIDDLE, books)
    features = text_features(
        [f"{title}. {text}" for title, text in zip(texts.titles, texts.descriptions, strict=True)]
    )
    assert _share_alike(features, books.theme) > 0.85
    assert _share_alike(features, books.series) > 0.6  # 1 of 96 by chance
    assert _share_alike(features, books.circle) < 3 / NUM_CIRCLES


def test_readers_keep_to_their_circles(events: Events) -> None:
    books, readers = draw_books(MIDDLE), draw_readers(MIDDLE)
    own = (books.circle[events.item][:, None] == readers.circles[events.user]).any(axis=1)
    assert own.mean() > 2 * 2 / NUM_CIRCLES


def test_it_builds_into_a_dataset_without_a_complaint(small: Sample, tmp_path: Path) -> None:
    sources = Sources(
        events=small.folder / "events.csv",
        items=small.folder / "items.csv",
        features={name: small.folder / "features" / f"{name}.npy" for name in ("text", "image")},
        graphs={},
    )
    dataset = build(tmp_path / "dataset", sources, BuildOptions(strict=True, synthetic=True))
    counts = dataset.manifest.counts
    assert (counts.users, counts.items, counts.interactions) == (60, 84, len(small.events))
    prepared = dataset.prepare()
    by_name = {modality.name: modality for modality in prepared.corpus.modalities}
    assert int(by_name["image"].present.sum()) == 74
    assert len(prepared.test) == 60


def test_a_folder_that_stands_there_is_refused_and_left_alone(small: Sample) -> None:
    before = _hashes(small.folder)
    with pytest.raises(DataError, match="exists; choose another or pass --overwrite"):
        write_sample(small.folder, SMALL)
    assert _hashes(small.folder) == before


def test_what_is_no_sample_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(
        DataError, match=f"expected truth.json in the folder to overwrite, but {tmp_path} has none"
    ):
        write_sample(tmp_path, SMALL, overwrite=True)
    assert (tmp_path / "mine").read_text() == "kept"


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path / "shop", SMALL, on_picture=stop)
    assert not list(tmp_path.iterdir())


def test_sizes_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="num_users must be at least 20, got 3"):
        SampleOptions(num_users=3)
    with pytest.raises(ConfigError, match="num_items must be at least 60, five a theme, got 9"):
        SampleOptions(num_items=9)
    with pytest.raises(ConfigError, match="seed must be at least 0, got -1"):
        SampleOptions(seed=-1)


def test_the_command_prints_the_folder_and_calls_it_synthetic_on_stderr(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(sample_command)
    out = tmp_path / "shop"
    arguments = [str(out), "--users", "20", "--items", "60", "--seed", "1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}\n"
    assert "SYNTHETIC" in result.stderr
    assert len(_read(out / "items.csv")) == 60
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, DataError)
    quiet = CliRunner().invoke(app, [*arguments, "--overwrite", "--quiet"])
    assert (quiet.exit_code, quiet.stderr) == (0, "")
