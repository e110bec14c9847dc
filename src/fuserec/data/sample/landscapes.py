"""Scenes on dry ground.

Every scene takes the canvas, the palette, the style and a generator. The style (place of the hero, its size, how
much there is of everything) is shared by items that are alike; the generator makes each of them its own.
"""

from __future__ import annotations

import math

import numpy as np

from fuserec.data.sample.canvas import Canvas, Colour, Number, blob, mix, ridge
from fuserec.data.sample.heavens import light, sparkle
from fuserec.data.sample.palettes import Palette
from fuserec.data.sample.style import Style

__all__ = ["desert", "forest", "mountains", "winter"]


def mountains(canvas: Canvas, palette: Palette, style: Style, rng: np.random.Generator) -> None:
    """Ranges behind one another, the highest under snow, firs and a path in front."""
    canvas.sky(palette.sky)
    sparkle(canvas, palette, rng, count=45, down_to=0.5)
    light(
        canvas, palette, 0.2 + 0.6 * (1 - style.place), 0.16 + 0.12 * style.amount, 0.07 + 0.04 * style.size
    )
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
            _pine(
                canvas,
                x,
                y + 0.015 + 0.03 * rng.random(),
                (0.05 + 0.06 * share) * (0.8 + 0.5 * rng.random()),
                mix(ground, palette.near, 0.55),
            )
    bend = 0.16 * (rng.random() - 0.5)
    path = [
        (0.5 + bend * math.sin(6 * t) + (style.place - 0.5) * 0.5 * t, 1 - 0.17 * t)
        for t in np.linspace(0, 1, 12).tolist()
    ]
    for (ax, ay), (bx, by), t in zip(path, path[1:], np.linspace(0, 1, 11).tolist(), strict=False):
        canvas.line([(ax, ay), (bx, by)], mix(palette.accent, palette.second, 0.3), 0.045 * (1 - 0.8 * t))


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
    zigzag = [
        (x + edge * s, y + depth * (1 - 0.45 * (k % 2)))
        for k, s in enumerate((0.98, 0.55, 0.2, -0.15, -0.5, -0.98))
    ]
    zigzag[0], zigzag[-1] = (x + edge, y + depth), (x - edge, y + depth)
    canvas.polygon([(x, y), *zigzag], palette.accent)
    canvas.polygon(
        [
            (x, y),
            (x + edge, y + depth),
            (x + 0.5 * edge, y + 0.6 * depth),
            (x + 0.15 * edge, y + 0.8 * depth),
        ],
        mix(palette.accent, palette.far, 0.45),
    )


def desert(canvas: Canvas, palette: Palette, style: Style, rng: np.random.Generator) -> None:
    """Dunes with a lit and a shaded side, a road, and cacti or a mesa."""
    canvas.sky(palette.sky)
    sparkle(canvas, palette, rng, count=45, down_to=0.5)
    sun_x = 0.2 + 0.6 * (1 - style.place)
    light(canvas, palette, sun_x, 0.3 - 0.1 * style.size, 0.11 + 0.05 * style.size)
    if style.amount > 0.5:
        for _ in range(2):
            x, top, wide = rng.random(), 0.4 + 0.06 * rng.random(), 0.12 + 0.12 * rng.random()
            rock = mix(palette.near, palette.haze, 0.4)
            canvas.polygon(
                [(x - wide, 0.62), (x - 0.7 * wide, top), (x + 0.65 * wide, top), (x + wide, 0.62)], rock
            )
            canvas.polygon(
                [(x + 0.3 * wide, 0.62), (x + 0.25 * wide, top), (x + 0.65 * wide, top), (x + wide, 0.62)],
                mix(rock, palette.near, 0.35),
            )
    for layer in range(4):
        share = layer / 3
        base = 0.58 + 0.1 * layer
        crest = 0.15 + 0.7 * rng.random()
        sand = mix(mix(palette.far, palette.haze, 0.4 * (1 - share)), palette.near, 0.5 * share)
        hill = [(i / 40, base - 0.09 * math.exp(-(((i / 40 - crest) / 0.33) ** 2))) for i in range(41)]
        canvas.below(hill, sand)
        lee = [(x, y) for x, y in hill if x >= crest]
        canvas.polygon(
            [*lee, (1, 1), (crest + 0.12, base + 0.14), (crest + 0.02, base + 0.03)],
            mix(sand, palette.near, 0.33),
        )
    end = 0.3 + 0.4 * style.place
    canvas.polygon(
        [(0.28, 1), (0.72, 1), (end + 0.012, 0.78), (end - 0.012, 0.78)], mix(palette.near, (60, 50, 60), 0.5)
    )
    for t in (0.1, 0.35, 0.58, 0.76, 0.9):
        x, y = 0.5 + (end - 0.5) * t, 1 - 0.22 * t
        canvas.line(
            [(x, y), (x + (end - 0.5) * 0.08, y - 0.022 * (1.1 - t))], palette.second, 0.014 * (1.05 - t)
        )
    for _ in range(1 + round(2 * style.amount)):
        side = rng.random() < 0.5
        _cactus(
            canvas,
            palette,
            (0.05 + 0.16 * rng.random()) if side else (0.79 + 0.16 * rng.random()),
            0.82 + 0.12 * rng.random(),
            0.16 + 0.14 * style.size,
        )


def _cactus(canvas: Canvas, palette: Palette, x: Number, y: Number, tall: Number) -> None:
    step = tall * canvas.aspect
    thick = 0.2 * tall
    canvas.line([(x, y), (x, y - step)], palette.accent, thick)
    canvas.disc(x, y - step, thick / 2, palette.accent)
    for side, low in ((-1, 0.45), (1, 0.58)):
        arm = x + side * 0.3 * tall
        canvas.line(
            [(x, y - low * step), (arm, y - low * step), (arm, y - (low + 0.3) * step)],
            palette.accent,
            0.7 * thick,
        )
        canvas.disc(arm, y - (low + 0.3) * step, 0.35 * thick, palette.accent)


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
        _pine(canvas, x, y + 0.02, 0.1 + 0.08 * rng.random(), mix(palette.second, palette.far, 0.35))
    x, y, size = 0.26 + 0.48 * style.place, 0.79, 0.26 + 0.14 * style.size
    canvas.below(ridge(rng, base=0.73, height=0.03, rough=0.1), mix(palette.far, palette.near, 0.65))
    _smoke(canvas, palette, x + 0.28 * size, y - 0.85 * size * canvas.aspect, rng)
    _cottage(canvas, palette, x, y, size)
    canvas.below(ridge(rng, base=0.84, height=0.025, rough=0.1), palette.near)
    _pine(canvas, x + (0.4 if style.place < 0.5 else -0.4), 0.92, 0.34 + 0.1 * style.size, palette.second)
    for fx, fy, fs in rng.random((40, 3)).tolist():
        canvas.disc(fx, fy, 0.004 + 0.006 * fs, mix(palette.near, (255, 255, 255), 0.6))


def _smoke(canvas: Canvas, palette: Palette, x: Number, y: Number, rng: np.random.Generator) -> None:
    drift = 0.05 + 0.05 * rng.random()
    for puff in range(5):
        canvas.disc(
            x + drift * puff**1.2 * 0.5,
            y - 0.035 * puff,
            0.018 + 0.009 * puff,
            mix(palette.haze, palette.near, 0.55 - 0.1 * puff),
        )


def _cottage(canvas: Canvas, palette: Palette, x: Number, y: Number, size: Number) -> None:
    wall = mix(palette.accent, (70, 45, 40), 0.35)
    canvas.shape(
        [
            (0.22 * size, -0.6 * size),
            (0.34 * size, -0.6 * size),
            (0.34 * size, -0.86 * size),
            (0.22 * size, -0.86 * size),
        ],
        mix(wall, (40, 30, 30), 0.4),
        at=(x, y),
    )
    canvas.shape(
        [(-0.45 * size, 0.1), (0.45 * size, 0.1), (0.45 * size, -0.42 * size), (-0.45 * size, -0.42 * size)],
        wall,
        at=(x, y),
    )
    canvas.shape(
        [
            (-0.58 * size, -0.38 * size),
            (0.58 * size, -0.38 * size),
            (0.1 * size, -0.85 * size),
            (-0.1 * size, -0.85 * size),
        ],
        mix(palette.near, palette.far, 0.3),
        at=(x, y),
    )
    canvas.shape(
        [
            (-0.58 * size, -0.38 * size),
            (0.58 * size, -0.38 * size),
            (0.52 * size, -0.44 * size),
            (-0.52 * size, -0.44 * size),
        ],
        palette.near,
        at=(x, y),
    )
    canvas.glow(x, y - 0.2 * size * canvas.aspect, 0.5 * size, palette.lit, 0.55)
    for side in (-1, 1):
        left = (0.22 * side - 0.09) * size
        canvas.shape(
            [
                (left, -0.12 * size),
                (left + 0.18 * size, -0.12 * size),
                (left + 0.18 * size, -0.3 * size),
                (left, -0.3 * size),
            ],
            palette.lit,
            at=(x, y),
        )
        canvas.shape(
            [
                (left + 0.08 * size, -0.12 * size),
                (left + 0.1 * size, -0.12 * size),
                (left + 0.1 * size, -0.3 * size),
                (left + 0.08 * size, -0.3 * size),
            ],
            wall,
            at=(x, y),
        )


def forest(canvas: Canvas, palette: Palette, style: Style, rng: np.random.Generator) -> None:
    """Trunks in the mist, shafts of light, and a fox or a lantern among the ferns."""
    canvas.sky([mix(palette.sky[1], palette.far, 0.4), mix(palette.sky[2], palette.far, 0.25), palette.far])
    canvas.glow(0.2 + 0.6 * style.place, 0.3, 0.38, palette.sun, 0.75)
    for layer in range(4):
        share = (layer + 1) / 4
        colour = mix(mix(palette.far, palette.haze, 0.5), palette.near, share**1.3)
        for _ in range(round(3 + 4 * style.amount) - layer // 2):
            x, half = rng.random(), 0.008 + 0.028 * share * (0.6 + 0.6 * rng.random())
            lean = 0.03 * (rng.random() - 0.5)
            canvas.polygon(
                [
                    (x - half * 1.5, 0.98),
                    (x + half * 1.5, 0.98),
                    (x + half * 0.8 + lean, -0.01),
                    (x - half * 0.8 + lean, -0.01),
                ],
                colour,
            )
        ground = ridge(rng, base=0.7 + 0.075 * layer, height=0.025, rough=0.5)
        canvas.below(ground, colour)
        for _ in range(4):  # crowns at the top edge
            canvas.shape(
                blob(0, 0, 0.1 + 0.1 * rng.random(), petals=9, depth=0.07),
                mix(colour, palette.second, 0.3 - 0.06 * layer),
                at=(rng.random(), -0.03 + 0.03 * (3 - layer)),
            )
    for shaft in range(3):
        canvas.glow(0.2 + 0.6 * style.place + 0.12 * (shaft - 1), 0.5, 0.09, palette.sun, 0.18)
    if style.size > 0.5:
        _fox(canvas, palette, 0.28 + 0.44 * (1 - style.place), 0.93, 0.3)
    else:
        x = 0.3 + 0.4 * (1 - style.place)
        canvas.glow(x, 0.8, 0.26, palette.lit, 0.8)
        canvas.line([(x, 0.66), (x, 0.74)], palette.near, 0.012)
        canvas.shape(
            [(-0.045, 0.06), (0.045, 0.06), (0.06, -0.03), (0, -0.075), (-0.06, -0.03)],
            palette.accent,
            at=(x, 0.8),
        )
        canvas.shape(
            [(-0.026, 0.04), (0.026, 0.04), (0.034, -0.02), (-0.034, -0.02)], palette.lit, at=(x, 0.8)
        )
    for _ in range(7):
        _fern(
            canvas,
            mix(palette.near, palette.second, 0.25 + 0.2 * rng.random()),
            rng.random(),
            1.01,
            0.13 + 0.1 * rng.random(),
            rng,
        )


def _fox(canvas: Canvas, palette: Palette, x: Number, y: Number, size: Number) -> None:
    coat, pale = palette.accent, mix(palette.accent, (255, 250, 240), 0.8)
    canvas.shape(
        [
            (0.1 * size, -0.05 * size),
            (0.55 * size, -0.12 * size),
            (0.68 * size, -0.42 * size),
            (0.45 * size, -0.3 * size),
            (0.2 * size, -0.22 * size),
        ],
        coat,
        at=(x, y),
    )
    canvas.shape(
        [(0.6 * size, -0.25 * size), (0.68 * size, -0.42 * size), (0.53 * size, -0.34 * size)],
        pale,
        at=(x, y),
    )
    canvas.shape(
        [
            (-0.22 * size, 0),
            (0.26 * size, 0),
            (0.2 * size, -0.35 * size),
            (0, -0.62 * size),
            (-0.2 * size, -0.4 * size),
        ],
        coat,
        at=(x, y),
    )
    canvas.shape(
        [(-0.1 * size, 0), (0.06 * size, 0), (0.02 * size, -0.42 * size), (-0.1 * size, -0.42 * size)],
        pale,
        at=(x, y),
    )
    for ear in (-0.22, 0.1):
        canvas.shape(
            [
                (ear * size, -0.75 * size),
                ((ear + 0.16) * size, -0.75 * size),
                ((ear + 0.06) * size, -1.02 * size),
            ],
            coat,
            at=(x, y),
        )
    canvas.shape(
        [(-0.26 * size, -0.78 * size), (0.28 * size, -0.78 * size), (0.01 * size, -0.42 * size)],
        coat,
        at=(x, y),
    )
    canvas.shape(
        [(-0.2 * size, -0.7 * size), (-0.02 * size, -0.62 * size), (0.01 * size, -0.42 * size)],
        pale,
        at=(x, y),
    )
    canvas.shape(
        [(0.22 * size, -0.7 * size), (0.04 * size, -0.62 * size), (0.01 * size, -0.42 * size)],
        pale,
        at=(x, y),
    )
    for dot_x, dot_y, radius in ((-0.08, -0.68, 0.022), (0.1, -0.68, 0.022), (0.01, -0.45, 0.03)):
        canvas.disc(x + dot_x * size, y + dot_y * size * canvas.aspect, radius * size, (35, 25, 25))


def _fern(
    canvas: Canvas, colour: Colour, x: Number, y: Number, tall: Number, rng: np.random.Generator
) -> None:
    lean = 0.8 * (rng.random() - 0.5)
    for leaf in range(9):
        t = leaf / 9
        stem = (lean * tall * t * t, -tall * t)
        for side in (-1, 1):
            reach = 0.34 * tall * (1 - t)
            canvas.shape(
                [stem, (stem[0] + side * reach, stem[1] - 0.1 * tall), (stem[0], stem[1] - 0.09 * tall)],
                colour,
                at=(x, y),
            )


def _pine(canvas: Canvas, x: Number, y: Number, tall: Number, colour: Colour) -> None:
    """A fir standing at (x, y)."""
    for tier in range(3):
        width = tall * (0.30 - 0.07 * tier)
        top = -tall * (0.55 + 0.225 * tier)
        canvas.shape(
            [(-width, -tall * (0.08 + 0.24 * tier)), (width, -tall * (0.08 + 0.24 * tier)), (0, top)],
            colour,
            at=(x, y),
        )
    canvas.shape(
        [(-0.03 * tall, 0), (0.03 * tall, 0), (0.03 * tall, -0.1 * tall), (-0.03 * tall, -0.1 * tall)],
        colour,
        at=(x, y),
    )
