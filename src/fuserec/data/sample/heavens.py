"""Scenes in the sky, called like those of `fuserec.data.sample.landscapes`, and the lights that stand over others."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from fuserec.data.sample.canvas import Canvas, Colour, Frame, Number, mix, ridge
from fuserec.data.sample.palettes import Palette
from fuserec.data.sample.style import Style

__all__ = ["light", "sky_voyage", "sparkle", "star_map"]


def light(canvas: Canvas, palette: Palette, x: Number, y: Number, radius: Number) -> None:
    """The sun, or the moon with its seas, in a halo."""
    canvas.glow(x, y, radius * 4, palette.sun, 0.55)
    canvas.disc(x, y, radius, palette.sun)
    if palette.night:
        moon, shade = canvas.around(x, y, radius), mix(palette.sun, palette.sky[1], 0.16)
        moon.disc(-0.35, -0.2, 0.24, shade)
        moon.disc(0.25, 0.35, 0.17, shade)


def sparkle(
    canvas: Canvas, palette: Palette, rng: np.random.Generator, *, count: int, down_to: Number
) -> None:
    """Stars, when it is night."""
    if palette.night:
        for x, y, size in rng.random((count, 3)):
            canvas.disc(
                x, y * down_to, 0.003 + 0.005 * size**3, mix(palette.sky[0], palette.lit, 0.5 + 0.5 * size)
            )


def star_map(canvas: Canvas, palette: Palette, style: Style, rng: np.random.Generator) -> None:
    """Orbits, a ringed planet, stars and the lines that people draw between them."""
    canvas.sky(palette.sky)
    canvas.glow(0.2 + 0.6 * (1 - style.place), 0.35, 0.45, mix(palette.far, palette.second, 0.4), 0.5)
    canvas.glow(0.2 + 0.6 * style.place, 0.85, 0.35, palette.accent, 0.22)
    for x, y, size in rng.random((90, 3)).tolist():
        canvas.disc(x, y, 0.002 + 0.006 * size**4, mix(palette.sky[1], palette.sun, 0.45 + 0.55 * size))
    x, y, radius = 0.24 + 0.52 * style.place, 0.6, 0.13 + 0.1 * style.size
    orbit = mix(palette.sky[1], palette.sun, 0.3)
    for ring in range(2 + round(2 * style.amount)):
        reach = radius * (1.9 + 0.85 * ring)
        canvas.ring(x, y, reach, orbit, 0.006)
        place = canvas.around(x, y, reach).at(*_direction(2 * math.pi * rng.random()))
        canvas.disc(*place, 0.018 + 0.016 * rng.random(), palette.second if ring % 2 else palette.accent)
    canvas.glow(x, y, radius * 2, palette.accent, 0.35)
    canvas.disc(x, y, radius, palette.accent)
    planet = canvas.around(x, y, radius)
    for band in (-0.45, -0.05, 0.3, 0.62):
        half = math.sqrt(1 - band**2) * 0.99
        shade = mix(palette.accent, palette.far, 0.4)
        planet.line([(-half, band), (half, band)], shade, 0.035 * (1 - abs(band)))
    across, down = _direction(0.35)  # the tilt of the ring
    ends = [_direction(t) for t in np.linspace(-0.35, math.pi + 0.35, 40).tolist()]
    loop = [(1.75 * a * across - 0.4 * b * down, 1.75 * a * down + 0.4 * b * across) for a, b in ends]
    planet.line(loop, mix(palette.second, palette.sun, 0.4), 0.022)
    stars = [(0.1 + 0.8 * (k + 0.5 * rng.random()) / 5, 0.1 + 0.2 * rng.random()) for k in range(5)]
    canvas.line(stars, mix(palette.sky[0], palette.second, 0.65), 0.007)
    for sx, sy in stars:
        _spark(canvas.around(sx, sy, 0.028 + 0.014 * rng.random()), palette.lit)


def _direction(angle: float) -> tuple[float, float]:
    return math.cos(angle), math.sin(angle)


def _spark(here: Frame, colour: Colour) -> None:
    tips = [(_direction(math.pi * k / 4), 0.3 if k % 2 else 1.0) for k in range(8)]
    here.shape([(reach * x, reach * y) for (x, y), reach in tips], colour)


def sky_voyage(canvas: Canvas, palette: Palette, style: Style, rng: np.random.Generator) -> None:
    """Striped balloons above the clouds."""
    canvas.sky(palette.sky)
    sparkle(canvas, palette, rng, count=40, down_to=0.7)
    light(canvas, palette, 0.2 + 0.6 * (1 - style.place), 0.17, 0.08)
    canvas.below(ridge(rng, base=0.86, height=0.05, rough=0.6), mix(palette.sky[1], palette.near, 0.3))
    far = mix(palette.haze, palette.far, 0.45)
    for _ in range(2 + round(3 * style.amount)):
        _cloud(canvas, rng.random(), 0.2 + 0.5 * rng.random(), 0.05 + 0.04 * rng.random(), far, rng)
    for _ in range(1 + round(3 * style.amount)):
        size = 0.05 + 0.04 * rng.random()
        here = canvas.around(0.12 + 0.76 * rng.random(), 0.15 + 0.4 * rng.random(), size)
        _balloon(here, palette, palette.second, palette.far, stripes=3)
    here = canvas.around(0.3 + 0.4 * style.place, 0.36 + 0.06 * rng.random(), 0.19 + 0.08 * style.size)
    _balloon(here, palette, palette.accent, palette.second, stripes=4 + round(3 * style.size))
    for layer, base in enumerate((palette.near, palette.far)):
        colour = mix(palette.haze, base, 0.4 + 0.4 * layer)
        for k in range(5):
            x, size = (k + rng.random()) / 5, 0.08 + 0.05 * rng.random()
            _cloud(canvas, x, 0.86 + 0.08 * layer, size, colour, rng)


def _cloud(
    canvas: Canvas, x: Number, y: Number, size: Number, colour: Colour, rng: np.random.Generator
) -> None:
    for k in range(5):
        puff = size * (0.75 + 0.5 * rng.random()) * (1 - 0.22 * abs(k - 2))
        canvas.oval(x + 0.75 * size * (k - 2), y - 0.25 * puff, puff, 0.7 * puff, colour)


def _balloon(here: Frame, palette: Palette, colour: Colour, other: Colour, *, stripes: int) -> None:
    angles = np.linspace(-math.pi / 2, 0.42 * math.pi, 24).tolist()
    edge = [(math.cos(a), math.sin(a) * (1.25 if a > 0 else 1.0)) for a in angles]
    meridians = [math.sin(math.pi * (k / (2 * stripes) - 0.5)) for k in range(2 * stripes + 1)]
    for k, (left, right) in enumerate(pairwise(meridians)):
        shade = colour if k % 2 == 0 else mix(other, (255, 255, 255), 0.25)
        gore = [(left * w, h) for w, h in edge] + [(right * w, h) for w, h in reversed(edge)]
        here.shape(gore, mix(shade, palette.sky[0], 0.28 * max(0.0, left)))
    basket = mix(palette.accent, (70, 45, 30), 0.7)
    for side in (-1, 1):
        here.line([(0.22 * side, 1.2), (0.13 * side, 1.52)], basket, 0.006)
    here.shape([(-0.16, 1.5), (0.16, 1.5), (0.12, 1.75), (-0.12, 1.75)], basket)
