"""Scenes on the water and under it, called like those of `fuserec.data.sample.landscapes`."""

from __future__ import annotations

import math

import numpy as np

from fuserec.data.sample.canvas import Canvas, Colour, Frame, Number, blob, mix, ridge
from fuserec.data.sample.heavens import light, sparkle
from fuserec.data.sample.palettes import Palette
from fuserec.data.sample.style import Style

__all__ = ["coral", "river", "sea"]


def sea(canvas: Canvas, palette: Palette, style: Style, rng: np.random.Generator) -> None:
    """Waves, and a ship under sail or a lighthouse on its rock."""
    horizon = 0.52 + 0.1 * style.amount
    sun_x = 0.25 + 0.5 * (1 - style.place)
    canvas.sky(palette.sky)
    sparkle(canvas, palette, rng, count=30, down_to=0.4)
    light(canvas, palette, sun_x, horizon - 0.12 - 0.12 * style.size, 0.09 + 0.05 * style.size)
    canvas.below([(0, horizon), (1, horizon)], mix(palette.far, palette.haze, 0.45))
    for step in range(9):  # the light's path on the water
        y = horizon + 0.012 + 0.028 * step
        reach = (0.05 + 0.02 * step) * (0.6 + 0.6 * rng.random())
        x = sun_x + 0.02 * (rng.random() - 0.5)
        canvas.line([(x - reach, y), (x + reach, y)], mix(palette.far, palette.sun, 0.65), 0.008)
    x = 0.22 + 0.56 * style.place
    if style.size > 0.5:
        _ship(canvas.around(x, horizon + 0.13, 0.24 + 0.16 * style.size), palette)
    else:
        _lighthouse(canvas.around(x, horizon + 0.16), palette, 0.42 + 0.2 * style.amount)
    bands = 3 + round(2 * style.amount)
    for band in range(bands):
        share = (band + 1) / bands
        y, phase = horizon + 0.1 + (0.9 - horizon) * share**1.2 * 0.8, rng.random()
        waves = [
            (i / 40, y + 0.014 * (0.6 + share) * math.sin(2 * math.pi * ((2.4 - share) * i / 40 + phase)))
            for i in range(41)
        ]
        canvas.below(waves, mix(palette.far, palette.near, share))
        canvas.line(waves, mix(palette.far, palette.second, 0.5 - 0.3 * share), 0.008)


def _ship(here: Frame, palette: Palette) -> None:
    dark = mix(palette.near, (20, 16, 20), 0.5)
    here.shape([(-0.55, -0.2), (0.62, -0.24), (0.4, 0.05), (-0.4, 0.05)], dark)
    here.shape([(-0.5, -0.16), (0.58, -0.2), (0.53, -0.13), (-0.46, -0.1)], palette.accent)
    half = 0.008 / here.size  # of a mast: as thick on small ships as on large ones
    for mast, tall in ((-0.24, 0.95), (0.14, 1.2)):
        here.block(mast - half, mast + half, -tall, -0.1, dark)
        for low, high in ((0.3, 0.62), (0.66, 0.92)):
            belly = 0.34 * (1.15 - high * 0.5)
            sail = [
                (mast - 0.16, -low * tall),
                (mast + belly * 0.8, -(low + 0.02) * tall),
                (mast + belly, -(low + high) / 2 * tall),
                (mast + belly * 0.6, -high * tall),
                (mast - 0.12, -high * tall),
            ]
            here.shape(sail, palette.second)
    here.shape([(0.14, -1.2), (0.36, -1.15), (0.14, -1.1)], palette.accent)


def _lighthouse(here: Frame, palette: Palette, tall: Number) -> None:
    rock = mix(palette.near, (30, 26, 34), 0.4)
    here.canvas.glow(*here.at(0, -tall), 0.16, palette.lit, 0.7)
    beam = mix(mix(palette.haze, palette.lit, 0.5), palette.sky[1], 0.35)
    here.shape([(0, -tall), (0.9, -tall - 0.14), (0.9, -tall + 0.03)], beam)
    for part in range(5):
        low, high = 0.9 * tall * part / 5, 0.9 * tall * (part + 1) / 5
        wide_low, wide_high = 0.075 - 0.035 * low / tall, 0.075 - 0.035 * high / tall
        band = [(-wide_low, -low), (wide_low, -low), (wide_high, -high), (-wide_high, -high)]
        here.shape(band, palette.accent if part % 2 == 0 else palette.second)
    here.block(-0.055, 0.055, -0.93 * tall, -0.9 * tall, rock)
    here.block(-0.03, 0.03, -1.02 * tall, -0.93 * tall, palette.lit)
    here.shape([(-0.045, -1.02 * tall), (0.045, -1.02 * tall), (0, -1.1 * tall)], palette.accent)
    here.shape([(x, y + 0.02) for x, y in blob(0.2, petals=5, depth=0.08)], rock)


def river(canvas: Canvas, palette: Palette, style: Style, rng: np.random.Generator) -> None:
    """A row of gabled houses, mirrored in the water, with a boat or a bridge."""
    shore = 0.62
    canvas.sky(palette.sky)
    sparkle(canvas, palette, rng, count=30, down_to=0.35)
    light(canvas, palette, 0.2 + 0.6 * (1 - style.place), 0.16, 0.06 + 0.04 * style.size)
    canvas.below(ridge(rng, base=0.52, height=0.05, rough=0.3), mix(palette.far, palette.haze, 0.75))
    water = mix(palette.second, palette.sky[2], 0.3)
    canvas.below([(0, shore), (1, shore)], water)
    x = -0.04 * rng.random()
    plaster, sandstone = mix(palette.accent, palette.near, 0.5), mix(palette.far, (255, 255, 255), 0.35)
    walls = (palette.accent, palette.near, palette.far, plaster, sandstone)
    while x < 1:
        wide = 0.13 + 0.08 * rng.random() + 0.05 * style.size
        tall = (0.28 + 0.24 * rng.random()) * (0.75 + 0.5 * style.size)
        wall = walls[int(rng.integers(len(walls)))]
        _house(canvas.around(x, shore), palette, wide, tall, wall, water, rng)
        x += wide
    canvas.line([(0, shore), (1, shore)], mix(palette.near, (40, 35, 40), 0.5), 0.02)
    if style.amount > 0.5:
        _bridge(canvas.around(0.2 + 0.6 * style.place, 0.83), palette)
    else:
        boat = canvas.around(0.25 + 0.5 * style.place, 0.83)
        boat.shape([(-0.16, -0.05), (0.16, -0.05), (0.11, 0.02), (-0.11, 0.02)], palette.near)
        boat.block(-0.005, 0.005, -0.24, -0.05, palette.near)
        boat.shape([(0.01, -0.07), (0.13, -0.08), (0.01, -0.23)], mix(palette.accent, (255, 255, 255), 0.4))
    for _ in range(16):
        rx, ry, reach = rng.random(), shore + 0.03 + (0.97 - shore) * rng.random(), 0.03 + 0.08 * rng.random()
        canvas.line([(rx - reach, ry), (rx + reach, ry)], mix(water, (255, 255, 255), 0.28), 0.007)


def _house(
    here: Frame,
    palette: Palette,
    wide: Number,
    tall: Number,
    wall: Colour,
    water: Colour,
    rng: np.random.Generator,
) -> None:
    """A front, its mirror below, and two windows a floor; its left foot is the origin."""
    stepped = rng.random() < 0.4
    mirror = [(0, 0), (wide, 0), (wide, 0.75 * tall), (wide / 2, 0.75 * tall + 0.4 * wide), (0, 0.75 * tall)]
    here.shape(mirror, mix(water, wall, 0.4))
    here.block(0, wide, -tall, 0, wall)
    if stepped:
        stairs = [(0, 0), (0, 0.3), (0.2, 0.3), (0.2, 0.65), (0.38, 0.65), (0.38, 1)]
        stairs += [(1 - t, h) for t, h in reversed(stairs)]
        here.shape([(wide * t, -tall - 0.5 * wide * h) for t, h in stairs], wall)
    else:
        roof = mix(palette.near, (90, 40, 40), 0.3)
        here.shape([(0, -tall), (wide / 2, -tall - 0.6 * wide), (wide, -tall)], roof)
    pane = palette.lit if palette.night else mix(palette.lit, (255, 255, 255), 0.35)
    dark = mix(wall, (30, 30, 50), 0.6)
    rows = max(2, round(tall / 0.11))
    for row in range(rows):
        for column in range(2):
            glows = rng.random() < (0.7 if palette.night else 0.3)
            left, top = wide * (0.2 + 0.36 * column), -tall + 0.03 + row * (tall - 0.03) / rows
            here.block(left, left + 0.22 * wide, top, top + 0.055, pane if glows else dark)


def _bridge(here: Frame, palette: Palette) -> None:
    stone = mix(palette.near, palette.far, 0.45)
    arch = [(t - 0.5, -0.16 * math.cos(math.pi * (t - 0.5))) for t in np.linspace(0, 1, 30).tolist()]
    hollow = [(0.72 * x, 0.86 * y + 0.06) for x, y in reversed(arch)]
    here.shape([(-0.5, 0.1), *arch, (0.5, 0.1), *hollow], stone)
    here.line([(x, y - 0.035) for x, y in arch], mix(stone, (255, 255, 255), 0.3), 0.016)


def coral(canvas: Canvas, palette: Palette, style: Style, rng: np.random.Generator) -> None:
    """Light from above, corals below, and fish of one school."""
    deep, light_x = mix(palette.far, palette.near, 0.7), 0.2 + 0.6 * (1 - style.place)
    canvas.sky([mix(palette.sky[2], palette.far, 0.4), palette.far, deep])
    for ray in range(4):
        top, foot = light_x + 0.06 * (ray - 1.5), 0.1 + 0.27 * ray + 0.1 * rng.random()
        for part in range(12):  # fading with the depth
            t, end = part / 12, (part + 1) / 12
            depth = mix(palette.far, deep, max(0.0, 2 * 0.85 * t - 1))
            pale = mix(depth, mix(palette.sky[2], palette.sun, 0.5), 0.34 * (1 - t))
            edges = [(top + (foot - top) * s, 0.015 + 0.035 * s, 0.85 * s) for s in (t, end)]
            (a, a_half, a_y), (b, b_half, b_y) = edges
            canvas.polygon([(a - a_half, a_y), (a + a_half, a_y), (b + b_half, b_y), (b - b_half, b_y)], pale)
    canvas.glow(light_x, -0.02, 0.5, palette.sun, 0.7)
    tints = (palette.accent, palette.second, mix(palette.accent, palette.far, 0.5))
    for layer in range(2):
        shade = mix(palette.far, palette.near, 0.4 + 0.3 * layer)
        canvas.below(ridge(rng, base=0.78 + 0.08 * layer, height=0.05, rough=0.5), shade)
        for _ in range(3 + round(3 * style.amount)):
            colour = mix(shade, tints[int(rng.integers(3))], 0.35 + 0.5 * layer)
            _branch(canvas, rng.random(), 0.86 + 0.09 * layer, 0.1 + 0.1 * rng.random(), colour, rng)
    canvas.below(ridge(rng, base=0.95, height=0.02, rough=0.2), palette.near)
    school = palette.second if style.turn > 0.5 else palette.accent
    facing = 1 if style.place > 0.5 else -1
    x, y = 0.3 + 0.4 * style.place, 0.42
    if style.size > 0.5:
        _turtle(canvas.around(x, y, 0.13 + 0.06 * style.size, facing=facing), palette)
    else:
        _fish(canvas.around(x, y, 0.19, facing=facing), palette.accent, palette.second)
    for fx, fy in rng.normal(0, 1, (5 + round(9 * style.amount), 2)).tolist():
        here = canvas.around(0.5 + 0.26 * fx, 0.62 + 0.05 * fy, 0.045, facing=facing)
        _fish(here, school, mix(school, (255, 255, 255), 0.5))
    for bx, by, size in rng.random((14, 3)).tolist():
        canvas.ring(bx, 0.08 + 0.8 * by, 0.008 + 0.014 * size, mix(palette.far, (255, 255, 255), 0.55), 0.006)


def _branch(
    canvas: Canvas, x: Number, y: Number, tall: Number, colour: Colour, rng: np.random.Generator
) -> None:
    for twig in range(5):
        angle = -math.pi / 2 + 0.36 * (twig - 2) + 0.1 * (rng.random() - 0.5)
        reach = tall * (1 - 0.1 * abs(twig - 2))
        tip = (x + reach * math.cos(angle), y + reach * math.sin(angle) * canvas.aspect)
        canvas.line([(x, y), ((x + tip[0]) / 2, (y + tip[1]) / 2 + 0.01), tip], colour, 0.026)
        canvas.disc(*tip, 0.02, colour)


def _fish(here: Frame, colour: Colour, fin: Colour) -> None:
    here.shape([(-0.8, 0), (-1.4, -0.5), (-1.4, 0.5)], fin)
    here.shape([(0, -0.4), (-0.6, -0.85), (-0.5, -0.2)], fin)
    here.oval(0, 0, 1, 0.55, colour)
    here.oval(-0.1, 0, 0.12, 0.5, mix(colour, (255, 255, 255), 0.6))
    here.disc(0.6, -0.12, 0.09, (25, 25, 35))


def _turtle(here: Frame, palette: Palette) -> None:
    skin = mix(palette.second, palette.far, 0.35)
    for side, swing in ((0.75, -1.0), (0.75, 1.0), (-0.7, -0.7), (-0.7, 0.7)):
        flipper = [(side * 0.7, 0.2 * swing), (side * 1.25, 0.95 * swing), (side * 0.2, 0.55 * swing)]
        here.shape(flipper, skin)
    here.oval(1.12, 0, 0.3, 0.24, skin)
    here.disc(1.22, -0.06, 0.05, (25, 25, 35))
    here.oval(0, 0, 1, 0.74, mix(palette.accent, palette.near, 0.35))
    plate = blob(0.19, petals=6, depth=0.06)
    for x, y in ((0, 0), (0.5, 0), (-0.5, 0), (0.25, -0.38), (-0.25, -0.38), (0.25, 0.38), (-0.25, 0.38)):
        here.shape([(x + px, y + py) for px, py in plate], mix(palette.accent, palette.second, 0.45))
