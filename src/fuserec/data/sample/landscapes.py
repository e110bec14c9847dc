"""Scenes on dry ground.

Every scene takes the canvas, the palette, the style and a generator. The style (place of the hero, its size, how
much there is of everything) is shared by items that are alike; the generator makes each of them its own.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from fuserec.data.sample.canvas import Canvas, Colour, Frame, Number, blob, mix, ridge
from fuserec.data.sample.heavens import light, sparkle
from fuserec.data.sample.palettes import Palette
from fuserec.data.sample.style import Style

__all__ = ["desert", "forest", "mountains", "winter"]


def mountains(canvas: Canvas, palette: Palette, style: Style, rng: np.random.Generator) -> None:
    """Ranges behind one another, the highest under snow, firs and a path in front."""
    canvas.sky(palette.sky)
    sparkle(canvas, palette, rng, count=45, down_to=0.5)
    sun_y, sun_size = 0.16 + 0.12 * style.amount, 0.07 + 0.04 * style.size
    light(canvas, palette, 0.2 + 0.6 * (1 - style.place), sun_y, sun_size)
    canvas.below(ridge(rng, base=0.5, height=0.09, rough=0.8), mix(palette.far, palette.haze, 0.65))
    peak_x, peak_y = 0.2 + 0.6 * style.place, 0.36 - 0.16 * style.size
    _peak(canvas, palette, peak_x, peak_y, 0.5, rng)
    _peak(canvas, palette, peak_x + (0.36 if style.place < 0.5 else -0.36), peak_y + 0.13, 0.38, rng)
    for layer in range(3):
        share = (layer + 1) / 3
        line = ridge(rng, base=0.66 + 0.09 * layer, height=0.045, rough=0.45)
        ground = mix(mix(palette.second, palette.haze, 0.4 * (1 - share)), palette.near, 0.2 + 0.45 * share)
        canvas.below(line, ground)
        for _ in range(round((3 + 8 * style.amount) * (1.2 - 0.4 * share))):
            x, y = line[int(rng.integers(len(line)))]
            foot, tall = y + 0.015 + 0.03 * rng.random(), (0.05 + 0.06 * share) * (0.8 + 0.5 * rng.random())
            _pine(canvas.around(x, foot, tall), mix(ground, palette.near, 0.55))
    bend = 0.16 * (rng.random() - 0.5)
    path = [
        (0.5 + bend * math.sin(6 * t) + (style.place - 0.5) * 0.5 * t, 1 - 0.17 * t)
        for t in np.linspace(0, 1, 12).tolist()
    ]
    for part, t in zip(pairwise(path), np.linspace(0, 1, 11).tolist(), strict=True):
        canvas.line(part, mix(palette.accent, palette.second, 0.3), 0.045 * (1 - 0.8 * t))


def _peak(
    canvas: Canvas, palette: Palette, x: Number, y: Number, half: Number, rng: np.random.Generator
) -> None:
    foot = 0.78
    lit, shade = mix(palette.far, palette.haze, 0.25), mix(palette.far, palette.near, 0.4)
    canvas.polygon([(x - half, foot), (x, y), (x + half, foot)], lit)
    canvas.polygon(
        [(x, y), (x + half, foot), (x + 0.1 * half, foot), (x + 0.06, y + 0.2), (x - 0.02, y + 0.1)], shade
    )
    depth = 0.11 + 0.05 * rng.random()
    edge = half * depth / (foot - y)
    snow = ((1, 1), (0.55, 0.55), (0.2, 1), (-0.15, 0.55), (-0.5, 1), (-1, 1))
    canvas.polygon([(x, y), *((x + edge * a, y + depth * b) for a, b in snow)], palette.accent)
    shaded = ((1, 1), (0.5, 0.6), (0.15, 0.8))
    canvas.polygon(
        [(x, y), *((x + a * edge, y + b * depth) for a, b in shaded)], mix(palette.accent, palette.far, 0.45)
    )


def desert(canvas: Canvas, palette: Palette, style: Style, rng: np.random.Generator) -> None:
    """Dunes with a lit and a shaded side, a road, and cacti or a mesa."""
    canvas.sky(palette.sky)
    sparkle(canvas, palette, rng, count=45, down_to=0.5)
    light(canvas, palette, 0.2 + 0.6 * (1 - style.place), 0.3 - 0.1 * style.size, 0.11 + 0.05 * style.size)
    if style.amount > 0.5:
        rock = mix(palette.near, palette.haze, 0.4)
        for _ in range(2):
            x, top, wide = rng.random(), 0.4 + 0.06 * rng.random(), 0.12 + 0.12 * rng.random()
            right = [(x + 0.65 * wide, top), (x + wide, 0.62)]
            canvas.polygon([(x - wide, 0.62), (x - 0.7 * wide, top), *right], rock)
            canvas.polygon(
                [(x + 0.3 * wide, 0.62), (x + 0.25 * wide, top), *right], mix(rock, palette.near, 0.35)
            )
    for layer in range(4):
        share = layer / 3
        base = 0.58 + 0.1 * layer
        crest = 0.15 + 0.7 * rng.random()
        sand = mix(mix(palette.far, palette.haze, 0.4 * (1 - share)), palette.near, 0.5 * share)
        hill = [(i / 40, base - 0.09 * math.exp(-(((i / 40 - crest) / 0.33) ** 2))) for i in range(41)]
        canvas.below(hill, sand)
        lee = [(x, y) for x, y in hill if x >= crest]
        lee += [(1, 1), (crest + 0.12, base + 0.14), (crest + 0.02, base + 0.03)]
        canvas.polygon(lee, mix(sand, palette.near, 0.33))
    end = 0.3 + 0.4 * style.place
    road = [(0.28, 1), (0.72, 1), (end + 0.012, 0.78), (end - 0.012, 0.78)]
    canvas.polygon(road, mix(palette.near, (60, 50, 60), 0.5))
    for t in (0.1, 0.35, 0.58, 0.76, 0.9):
        x, y = 0.5 + (end - 0.5) * t, 1 - 0.22 * t
        dash = [(x, y), (x + (end - 0.5) * 0.08, y - 0.022 * (1.1 - t))]
        canvas.line(dash, palette.second, 0.014 * (1.05 - t))
    for _ in range(1 + round(2 * style.amount)):
        left = 0.05 if rng.random() < 0.5 else 0.79
        x, y = left + 0.16 * rng.random(), 0.82 + 0.12 * rng.random()
        _cactus(canvas.around(x, y, 0.16 + 0.14 * style.size), palette.accent)


def _cactus(here: Frame, colour: Colour) -> None:
    here.line([(0, 0), (0, -1)], colour, 0.2 * here.size)
    here.disc(0, -1, 0.1, colour)
    for side, low in ((-1, 0.45), (1, 0.58)):
        arm, top = 0.3 * side, -(low + 0.3)
        here.line([(0, -low), (arm, -low), (arm, top)], colour, 0.14 * here.size)
        here.disc(arm, top, 0.07, colour)


def winter(canvas: Canvas, palette: Palette, style: Style, rng: np.random.Generator) -> None:
    """Snowy hills, firs, and a cottage with a lit window and smoke."""
    canvas.sky(palette.sky)
    sparkle(canvas, palette, rng, count=30, down_to=0.45)
    light(canvas, palette, 0.2 + 0.6 * (1 - style.place), 0.18, 0.06 + 0.03 * style.size)
    canvas.below(ridge(rng, base=0.5, height=0.06, rough=0.5), mix(palette.far, palette.haze, 0.6))
    back = ridge(rng, base=0.6, height=0.04, rough=0.2)
    canvas.below(back, mix(palette.far, palette.near, 0.25))
    for _ in range(4 + round(9 * style.amount)):
        x, y = back[int(rng.integers(len(back)))]
        tree = canvas.around(x, y + 0.02, 0.1 + 0.08 * rng.random())
        _pine(tree, mix(palette.second, palette.far, 0.35))
    x, y, size = 0.26 + 0.48 * style.place, 0.79, 0.26 + 0.14 * style.size
    canvas.below(ridge(rng, base=0.73, height=0.03, rough=0.1), mix(palette.far, palette.near, 0.65))
    home = canvas.around(x, y, size)
    _smoke(canvas, palette, *home.at(0.28, -0.85), rng)
    _cottage(home, palette)
    canvas.below(ridge(rng, base=0.84, height=0.025, rough=0.1), palette.near)
    x += 0.4 if style.place < 0.5 else -0.4
    _pine(canvas.around(x, 0.92, 0.34 + 0.1 * style.size), palette.second)
    for fx, fy, fs in rng.random((40, 3)).tolist():
        canvas.disc(fx, fy, 0.004 + 0.006 * fs, mix(palette.near, (255, 255, 255), 0.6))


def _smoke(canvas: Canvas, palette: Palette, x: Number, y: Number, rng: np.random.Generator) -> None:
    drift = 0.05 + 0.05 * rng.random()
    for puff in range(5):
        grey = mix(palette.haze, palette.near, 0.55 - 0.1 * puff)
        canvas.disc(x + drift * puff**1.2 * 0.5, y - 0.035 * puff, 0.018 + 0.009 * puff, grey)


def _cottage(here: Frame, palette: Palette) -> None:
    wall = mix(palette.accent, (70, 45, 40), 0.35)
    here.block(0.22, 0.34, -0.86, -0.6, mix(wall, (40, 30, 30), 0.4))
    here.block(-0.45, 0.45, -0.42, 0.1 / here.size, wall)
    roof = [(-0.58, -0.38), (0.58, -0.38), (0.1, -0.85), (-0.1, -0.85)]
    here.shape(roof, mix(palette.near, palette.far, 0.3))
    here.shape([(-0.58, -0.38), (0.58, -0.38), (0.52, -0.44), (-0.52, -0.44)], palette.near)
    here.canvas.glow(*here.at(0, -0.2), 0.5 * here.size, palette.lit, 0.55)
    for side in (-1, 1):
        left = 0.22 * side - 0.09
        here.block(left, left + 0.18, -0.3, -0.12, palette.lit)
        here.block(left + 0.08, left + 0.1, -0.3, -0.12, wall)


def forest(canvas: Canvas, palette: Palette, style: Style, rng: np.random.Generator) -> None:
    """Trunks in the mist, shafts of light, and a fox or a lantern among the ferns."""
    canvas.sky([mix(palette.sky[1], palette.far, 0.4), mix(palette.sky[2], palette.far, 0.25), palette.far])
    canvas.glow(0.2 + 0.6 * style.place, 0.3, 0.38, palette.sun, 0.75)
    for layer in range(4):
        share = (layer + 1) / 4
        colour = mix(mix(palette.far, palette.haze, 0.5), palette.near, share**1.3)
        for _ in range(round(3 + 4 * style.amount) - layer // 2):
            x, half = rng.random(), 0.008 + 0.028 * share * (0.6 + 0.6 * rng.random())
            top = x + 0.03 * (rng.random() - 0.5)
            foot = [(x - half * 1.5, 0.98), (x + half * 1.5, 0.98)]
            canvas.polygon([*foot, (top + half * 0.8, -0.01), (top - half * 0.8, -0.01)], colour)
        canvas.below(ridge(rng, base=0.7 + 0.075 * layer, height=0.025, rough=0.5), colour)
        for _ in range(4):  # crowns at the top edge
            crown = blob(0.1 + 0.1 * rng.random(), petals=9, depth=0.07)
            here = canvas.around(rng.random(), -0.03 + 0.03 * (3 - layer))
            here.shape(crown, mix(colour, palette.second, 0.3 - 0.06 * layer))
    for shaft in range(3):
        canvas.glow(0.2 + 0.6 * style.place + 0.12 * (shaft - 1), 0.5, 0.09, palette.sun, 0.18)
    if style.size > 0.5:
        _fox(canvas.around(0.28 + 0.44 * (1 - style.place), 0.93, 0.3), palette.accent)
    else:
        _lantern(canvas, palette, 0.3 + 0.4 * (1 - style.place))
    for _ in range(7):
        colour = mix(palette.near, palette.second, 0.25 + 0.2 * rng.random())
        _fern(canvas.around(rng.random(), 1.01, 0.13 + 0.1 * rng.random()), colour, rng)


def _lantern(canvas: Canvas, palette: Palette, x: Number) -> None:
    canvas.glow(x, 0.8, 0.26, palette.lit, 0.8)
    canvas.line([(x, 0.66), (x, 0.74)], palette.near, 0.012)
    here = canvas.around(x, 0.8)
    here.shape([(-0.045, 0.06), (0.045, 0.06), (0.06, -0.03), (0, -0.075), (-0.06, -0.03)], palette.accent)
    here.shape([(-0.026, 0.04), (0.026, 0.04), (0.034, -0.02), (-0.034, -0.02)], palette.lit)


def _fox(here: Frame, coat: Colour) -> None:
    pale = mix(coat, (255, 250, 240), 0.8)
    here.shape([(0.1, -0.05), (0.55, -0.12), (0.68, -0.42), (0.45, -0.3), (0.2, -0.22)], coat)
    here.shape([(0.6, -0.25), (0.68, -0.42), (0.53, -0.34)], pale)
    here.shape([(-0.22, 0), (0.26, 0), (0.2, -0.35), (0, -0.62), (-0.2, -0.4)], coat)
    here.shape([(-0.1, 0), (0.06, 0), (0.02, -0.42), (-0.1, -0.42)], pale)
    for ear in (-0.22, 0.1):
        here.shape([(ear, -0.75), (ear + 0.16, -0.75), (ear + 0.06, -1.02)], coat)
    here.shape([(-0.26, -0.78), (0.28, -0.78), (0.01, -0.42)], coat)
    for cheek in ((-0.2, -0.02), (0.22, 0.04)):
        here.shape([(cheek[0], -0.7), (cheek[1], -0.62), (0.01, -0.42)], pale)
    for x, y, radius in ((-0.08, -0.68, 0.022), (0.1, -0.68, 0.022), (0.01, -0.45, 0.03)):
        here.disc(x, y, radius, (35, 25, 25))


def _fern(here: Frame, colour: Colour, rng: np.random.Generator) -> None:
    lean = 0.8 * (rng.random() - 0.5)
    for leaf in range(9):
        t = leaf / 9
        x, y = lean * t * t, -t
        for side in (-1, 1):
            here.shape([(x, y), (x + side * 0.34 * (1 - t), y - 0.1), (x, y - 0.09)], colour)


def _pine(here: Frame, colour: Colour) -> None:
    """A fir standing at the origin, one unit tall."""
    for tier in range(3):
        half, low = 0.30 - 0.07 * tier, -(0.08 + 0.24 * tier)
        here.shape([(-half, low), (half, low), (0, -(0.55 + 0.225 * tier))], colour)
    here.block(-0.03, 0.03, -0.1, 0, colour)
