"""Covers: every theme at every hour, alike where their style is alike."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from fuserec.data.sample.canvas import Canvas, blob, ridge, rotate_hue
from fuserec.data.sample.features import describe_picture
from fuserec.data.sample.pictures import HEIGHT, WIDTH, draw_picture, encode_png
from fuserec.data.sample.style import Style
from fuserec.data.sample.world import HOURS, THEMES

STYLES = (
    Style(place=0.2, size=0.2, amount=0.2, turn=0.2),
    Style(place=0.8, size=0.9, amount=0.9, turn=0.8),
)


def _pixels(theme: str, hour: str, style: Style, seed: int = 0) -> NDArray[np.int64]:
    picture = draw_picture(theme, hour, style, np.random.default_rng(seed))
    return np.asarray(picture, dtype=np.int64)


@cache
def _described(theme: str, seed: int) -> NDArray[np.float32]:
    return describe_picture(draw_picture(theme, "dusk", STYLES[0], np.random.default_rng(seed)))


@pytest.mark.parametrize("theme", THEMES)
def test_a_theme_has_a_cover_at_every_hour_and_each_style_its_own(theme: str) -> None:
    covers = [_pixels(theme, hour, style) for hour, style in itertools.product(HOURS, STYLES)]
    for cover in covers:
        assert cover.shape == (HEIGHT, WIDTH, 3)
        assert len(np.unique(cover.reshape(-1, 3), axis=0)) > 200
    for a, b in itertools.combinations(covers, 2):
        assert np.abs(a - b).mean() > 5


@pytest.mark.parametrize("theme", THEMES)
def test_covers_of_one_style_differ_but_look_alike(theme: str) -> None:
    first, second = (_pixels(theme, "day", STYLES[0], seed) for seed in (1, 2))
    assert 0 < np.abs(first - second).mean() < np.abs(first - _pixels(theme, "night", STYLES[1])).mean()
    likeness = {other: float(_described(theme, 3) @ _described(other, 4)) for other in THEMES}
    assert max(likeness, key=lambda other: likeness[other]) == theme


def test_the_same_generator_draws_the_same_bytes() -> None:
    first, again = (
        encode_png(draw_picture("Clockwork", "dawn", STYLES[1], np.random.default_rng(9))) for _ in range(2)
    )
    assert first == again
    assert first[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_canvas_keeps_discs_round_and_places_them_in_shares() -> None:
    canvas = Canvas(40, 80)
    canvas.sky([(0.0, 0.0, 0.0), (0.0, 0.0, 0.0)])
    canvas.disc(0.5, 0.25, 0.25, (255.0, 0.0, 0.0))
    red = np.asarray(canvas.finished())[..., 0] > 127
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    assert (rows[0], rows[-1]) == pytest.approx((10, 29), abs=1)  # centre 20, radius 10 pixels
    assert (columns[0], columns[-1]) == pytest.approx((10, 29), abs=1)


def test_a_sky_runs_from_its_first_colour_to_its_last() -> None:
    canvas = Canvas(4, 50)
    canvas.sky([(0.0, 0.0, 0.0), (100.0, 50.0, 200.0)])
    column = np.asarray(canvas.finished())[:, 2].astype(np.int64)
    assert column[0] == pytest.approx([0, 0, 0], abs=2)
    assert column[25] == pytest.approx([50, 25, 100], abs=3)
    assert column[-1] == pytest.approx([100, 50, 200], abs=2)


def test_a_glow_is_strongest_in_its_middle_and_falls_to_all_sides() -> None:
    canvas = Canvas(60, 60)
    canvas.sky([(0.0, 0.0, 0.0), (0.0, 0.0, 0.0)])
    canvas.glow(0.5, 0.5, 0.2, (200.0, 200.0, 200.0), 0.5)
    light = np.asarray(canvas.finished())[..., 0].astype(np.int64)
    assert light[30, 30] == pytest.approx(100, abs=3)
    assert light[30, 42] == pytest.approx(100 / np.e, abs=5)  # one radius away
    assert light[0, 0] == 0


def test_a_figure_keeps_its_proportions_at_any_size_and_can_be_mirrored() -> None:
    figure = Canvas(40, 80).around(0.5, 0.25, 0.1)
    assert figure.at(0, 0) == (0.5, 0.25)
    assert figure.at(1, 2) == pytest.approx((0.6, 0.35))  # 4 pixels across, 8 down
    assert Canvas(40, 80).around(0.5, 0.25, 0.1, facing=-1).at(1, 2) == pytest.approx((0.4, 0.35))


def test_shapes_by_hand() -> None:
    assert rotate_hue((255.0, 0.0, 0.0), 120) == pytest.approx((0, 255, 0), abs=1e-9)
    assert blob(0.5, petals=4, depth=0.0)[0] == pytest.approx((0.5, 0.0))
    line = ridge(np.random.default_rng(0), base=0.5, height=0.1, rough=1.0)
    assert [line[0][0], line[-1][0]] == [0.0, 1.0]
    assert all(0.4 <= y <= 0.6 for _, y in line)
