"""Scenes of things made and grown, called like those of `fuserec.data.sample.landscapes`."""

from __future__ import annotations

import math

import numpy as np

from fuserec.data.sample.canvas import Canvas, Colour, Frame, Number, blob, mix, ridge
from fuserec.data.sample.heavens import light, sparkle
from fuserec.data.sample.palettes import Palette
from fuserec.data.sample.style import Style

__all__ = ["city", "clockwork", "garden"]


def city(canvas: Canvas, palette: Palette, style: Style, rng: np.random.Generator) -> None:
    """Towers behind towers with lit windows, and a train in front."""
    canvas.sky(palette.sky)
    sparkle(canvas, palette, rng, count=30, down_to=0.4)
    light(canvas, palette, 0.2 + 0.6 * (1 - style.place), 0.2 + 0.1 * style.amount, 0.1 + 0.05 * style.size)
    for layer in range(3):
        share = (layer + 1) / 3
        colour = mix(mix(palette.far, palette.haze, 0.6 * (1 - share)), palette.near, share**1.5)
        glowing = 0.15 + 0.35 * share + 0.25 * palette.night
        x = -0.05 * rng.random()
        while x < 1:
            wide = 0.08 + 0.09 * rng.random() + 0.03 * layer
            heroic = math.exp(-(((x + wide / 2 - 0.15 - 0.7 * style.place) / 0.2) ** 2))
            top = 0.62 + 0.1 * layer - (0.14 + 0.2 * style.size) * heroic - 0.14 * rng.random()
            _tower(canvas, palette, x, top, wide, colour, glowing=glowing, rng=rng)
            x += wide + 0.012 * rng.random()
    street = mix(palette.near, (15, 12, 25), 0.5)
    canvas.below([(0, 0.9), (1, 0.9)], street)
    carriage = mix(palette.accent, palette.near, 0.1)
    for car in range(2 + round(style.amount)):
        here = canvas.around(-0.15 + 0.5 * style.place + 0.34 * car, 0.925)
        here.shape([(0, 0), (0.32, 0), (0.32, -0.085), (0.305, -0.1), (0.015, -0.1), (0, -0.085)], carriage)
        for pane in range(5):
            left = 0.025 + 0.058 * pane
            here.block(left, left + 0.042, -0.082, -0.046, palette.lit)
        here.block(0, 0.32, -0.03, -0.022, palette.second)
    canvas.line([(0, 0.935), (1, 0.935)], mix(street, palette.lit, 0.35), 0.008)


def _tower(
    canvas: Canvas,
    palette: Palette,
    x: Number,
    top: Number,
    wide: Number,
    colour: Colour,
    *,
    glowing: Number,
    rng: np.random.Generator,
) -> None:
    canvas.polygon([(x, 1), (x, top), (x + wide, top), (x + wide, 1)], colour)
    crown = rng.random()
    if crown < 0.25:
        canvas.polygon([(x, top), (x + wide / 2, top - 0.05), (x + wide, top)], colour)
    elif crown < 0.5:
        canvas.box(x + 0.25 * wide, top - 0.03, 0.5 * wide, 0.04, colour)
        canvas.line([(x + wide / 2, top), (x + wide / 2, top - 0.09)], colour, 0.008)
    columns = max(2, int(wide / 0.034))
    gap = wide / (columns + 0.4)
    for row in range(int((0.92 - top) / 0.034)):
        for column, chance in enumerate(rng.random(columns).tolist()):
            if chance < glowing:
                canvas.box(
                    x + gap * (column + 0.35),
                    top + 0.014 + 0.034 * row,
                    0.5 * gap,
                    0.019,
                    mix(colour, palette.lit, 0.55 + 0.45 * chance / glowing),
                )


def garden(canvas: Canvas, palette: Palette, style: Style, rng: np.random.Generator) -> None:
    """Hills, hedges and great flowers on their stems."""
    canvas.sky(palette.sky)
    sparkle(canvas, palette, rng, count=25, down_to=0.4)
    light(canvas, palette, 0.2 + 0.6 * (1 - style.place), 0.17, 0.08 + 0.03 * style.amount)
    for layer in range(3):
        share = layer / 2
        line = ridge(rng, base=0.56 + 0.12 * layer, height=0.035, rough=0.1)
        ground = mix(mix(palette.far, palette.haze, 0.45 * (1 - share)), palette.near, 0.55 * share)
        canvas.below(line, ground)
        for _ in range(round(2 + 4 * style.amount)):
            x, y = line[int(rng.integers(len(line)))]
            radius = (0.035 + 0.03 * share) * (0.8 + 0.6 * rng.random())
            bush = blob(radius, petals=8, depth=0.06)
            canvas.around(x, y + 0.01).shape(bush, mix(ground, palette.near, 0.3))
            for dot_x, dot_y in (rng.random((4, 2)) - 0.5).tolist():
                berry = mix(palette.accent, palette.second, rng.random())
                canvas.disc(x + dot_x * radius, y + dot_y * radius, 0.009, berry)
    count = 3 + round(3 * style.amount)
    petals = 5 + round(5 * style.size)
    stem = mix(palette.near, (20, 60, 40), 0.3)
    for flower in range(count):
        x = (flower + 0.25 + 0.5 * rng.random()) / count
        hero = math.exp(-(((x - 0.2 - 0.6 * style.place) / 0.25) ** 2))
        y = 0.78 - 0.22 * hero - 0.1 * rng.random()
        bend = 0.05 * (rng.random() - 0.5)
        middle = x + bend / 2, (1 + y) / 2
        canvas.line([(x + bend, 1.01), middle, (x, y)], stem, 0.014)
        for side in (-1, 1):
            leaf = canvas.around(middle[0], middle[1] + 0.02 * side, facing=side)
            leaf.shape([(0, 0), (0.09, -0.07), (0.12, -0.015), (0.06, 0.02)], stem)
        colours = (palette.accent, palette.second)
        colour, heart = colours if rng.random() < 0.65 else colours[::-1]
        here = canvas.around(x, y, 0.05 + 0.05 * style.size + 0.05 * hero)
        _flower(here, petals, colour, heart, turn=rng.random())


def _flower(here: Frame, petals: int, colour: Colour, heart: Colour, *, turn: Number) -> None:
    for ring, size, shift in ((1.0, 1.0, 0.0), (0.66, 0.8, 0.5)):
        shade = mix(colour, (255, 255, 255), 0.28 * (1 - ring) * 2)
        for petal in range(petals):
            angle = 2 * math.pi * (petal + turn + shift) / petals
            x, y = 0.62 * ring * math.cos(angle), 0.62 * ring * math.sin(angle)
            here.disc(x, y, 0.95 * size / petals**0.5, shade)
    here.disc(0, 0, 0.3, heart)
    here.disc(0, 0, 0.16, mix(heart, (60, 30, 20), 0.35))


def clockwork(canvas: Canvas, palette: Palette, style: Style, rng: np.random.Generator) -> None:
    """Interlocking gears around a great dial."""
    canvas.sky(palette.sky)
    canvas.glow(0.5, 0.4, 0.5, palette.sun, 0.35)
    metals = (palette.far, palette.accent, palette.second, palette.near, mix(palette.far, palette.near, 0.5))
    for _ in range(5 + round(6 * style.amount)):
        x, y, size = rng.random(3).tolist()
        colour = mix(metals[int(rng.integers(5))], palette.sky[1], 0.45)
        teeth = int(rng.integers(10, 18))
        gear = canvas.around(x, y, 0.1 + 0.12 * size)
        _gear(gear, colour, teeth=teeth, turn=rng.random(), hole=palette.sky[1])
    x, y, radius = 0.3 + 0.4 * style.place, 0.44, 0.24 + 0.1 * style.size
    dial = canvas.around(x, y, radius)
    wheels = ((0.7, 0.62, palette.second), (2.4, 0.5, palette.accent), (4.2, 0.55, palette.far))
    for middle, share, metal in wheels:
        angle, reach = middle + 0.6 * (rng.random() - 0.5), 1.02 + share
        place = dial.at(reach * math.cos(angle), reach * math.sin(angle))
        wheel = canvas.around(*place, radius * share)
        _gear(wheel, metal, teeth=14, turn=rng.random(), hole=mix(metal, palette.near, 0.6))
    _gear(canvas.around(x, y, radius * 1.12), palette.near, teeth=28, turn=0.0, hole=palette.near)
    dial.disc(0, 0, 0.97, mix(palette.far, palette.near, 0.25))
    dial.disc(0, 0, 0.88, mix(palette.sun, palette.far, 0.15))
    for hour in range(12):
        inner, outer, thick = (0.68, 0.8, 0.012) if hour % 3 else (0.62, 0.82, 0.02)
        _hand(dial, math.pi * hour / 6, inner, outer, palette.near, thick)
    for reach, thick in ((0.42, 0.026), (0.64, 0.016)):
        _hand(dial, 2 * math.pi * rng.random(), 0, reach, palette.near, thick)
    dial.disc(0, 0, 0.08, palette.accent)
    swing = x + 0.16 * (rng.random() - 0.5)
    foot = min(0.94, y + (radius * 1.12 + 0.3) * canvas.aspect)
    canvas.line([dial.at(0, 1.1), (swing, foot)], palette.near, 0.014)
    canvas.disc(swing, foot, 0.06, palette.accent)
    canvas.disc(swing - 0.015, foot - 0.012, 0.022, mix(palette.accent, (255, 255, 255), 0.5))


def _hand(
    dial: Frame, angle: Number, inner: Number, outer: Number, colour: Colour, thickness: Number
) -> None:
    """A line on the dial from the inner to the outer distance."""
    x, y = math.cos(angle), math.sin(angle)
    dial.line([(inner * x, inner * y), (outer * x, outer * y)], colour, thickness)


def _gear(here: Frame, colour: Colour, *, teeth: int, turn: Number, hole: Colour) -> None:
    corners = []
    for step in range(4 * teeth):
        angle = 2 * math.pi * (step + 4 * turn) / (4 * teeth)
        reach = 1.0 if step % 4 in {0, 1} else 0.86
        corners.append((reach * math.cos(angle), reach * math.sin(angle)))
    here.shape(corners, colour)
    here.canvas.ring(here.x, here.y, 0.72 * here.size, mix(colour, hole, 0.45), 0.07 * here.size)
    here.disc(0, 0, 0.22, hole)
