"""The sun or the moon, and the stars."""

from __future__ import annotations

import numpy as np

from fuserec.data.sample.canvas import Canvas, mix
from fuserec.data.sample.palettes import Palette

__all__ = ["light", "sparkle"]


def light(canvas: Canvas, palette: Palette, x: float, y: float, radius: float) -> None:
    """The sun, or the moon with its seas, in a halo."""
    canvas.glow(x, y, radius * 4, palette.sun, 0.55)
    canvas.disc(x, y, radius, palette.sun)
    if palette.night:
        shade = mix(palette.sun, palette.sky[1], 0.16)
        canvas.disc(x - 0.35 * radius, y - 0.2 * radius * canvas.aspect, 0.24 * radius, shade)
        canvas.disc(x + 0.25 * radius, y + 0.35 * radius * canvas.aspect, 0.17 * radius, shade)


def sparkle(
    canvas: Canvas, palette: Palette, rng: np.random.Generator, *, count: int, down_to: float
) -> None:
    """Stars, when it is night."""
    if palette.night:
        for x, y, size in rng.random((count, 3)):
            canvas.disc(
                x, y * down_to, 0.003 + 0.005 * size**3, mix(palette.sky[0], palette.lit, 0.5 + 0.5 * size)
            )
