"""A small canvas in unit coordinates, drawn large and reduced so that every edge is smooth.

x runs from 0 (left) to 1 (right), y from 0 (top) to 1 (bottom); lengths are shares of the width. Colours are
(red, green, blue), each 0 .. 255, as floats until they are drawn.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["Canvas", "Colour", "Frame", "Number", "blob", "hex_colour", "mix", "ridge", "rotate_hue"]

Number = float | int  # the shape hook takes float at its word
Colour = tuple[Number, Number, Number]
Points = Sequence[tuple[Number, Number]]
_SCALE = 2


def hex_colour(text: str) -> Colour:
    """``"#ff8000"`` as a colour.

    Example:
        >>> hex_colour("#ff8000")
        (255.0, 128.0, 0.0)
    """
    return float(int(text[1:3], 16)), float(int(text[3:5], 16)), float(int(text[5:7], 16))


def mix(a: Colour, b: Colour, share: Number) -> Colour:
    """The colour that is ``share`` of the way from a to b.

    Example:
        >>> mix((0.0, 0.0, 0.0), (100.0, 200.0, 50.0), 0.5)
        (50.0, 100.0, 25.0)
    """
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share


def rotate_hue(colour: Colour, degrees: Number) -> Colour:
    """The colour with its hue turned."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*(part / 255 for part in colour))
    red, green, blue = colorsys.hls_to_rgb((hue + degrees / 360) % 1, lightness, saturation)
    return 255 * red, 255 * green, 255 * blue


def ridge(
    rng: np.random.Generator, *, base: Number, height: Number, rough: Number
) -> list[tuple[Number, Number]]:
    """A skyline from left to right: waves of falling size with random phases.

    Args:
        rng: draws the phases.
        base: y around which it runs.
        height: its amplitude.
        rough: 0 for soft hills, 1 for jagged ones.
    """
    x = np.linspace(0, 1, 60)
    y = np.zeros(60)
    total = 0.0
    for octave in range(5):
        size = (0.35 + 0.35 * rough) ** octave
        y += size * np.sin(2 * math.pi * (0.8 * 1.9**octave * x + rng.random()))
        total += size
    return list(zip(x.tolist(), (base - height * y / total).tolist(), strict=True))


def blob(radius: Number, *, petals: int, depth: Number) -> list[tuple[Number, Number]]:
    """A round shape with a wavy edge around the origin of a `Frame`."""
    corners = []
    for step in range(48):
        angle = 2 * math.pi * step / 48
        reach = radius * (1 + depth * math.cos(petals * angle))
        corners.append((reach * math.cos(angle), reach * math.sin(angle)))
    return corners


class Canvas:
    """A picture in the making.

    Attributes:
        width: of the reduced picture, in pixels.
        height: of the reduced picture, in pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._image = Image.new("RGB", (width * _SCALE, height * _SCALE))
        self._draw = ImageDraw.Draw(self._image)

    @property
    def aspect(self) -> float:
        """Width over height: a length in widths times this is a length in heights."""
        return self.width / self.height

    def sky(self, stops: Sequence[Colour]) -> None:
        """Fill everything with a gradient from the first colour (top) to the last (bottom)."""
        rows = np.linspace(0, 1, self.height * _SCALE)
        places = np.linspace(0, 1, len(stops))
        column = np.stack(
            [np.interp(rows, places, [stop[part] for stop in stops]) for part in range(3)], axis=1
        )
        strip = Image.fromarray(np.rint(column).astype(np.uint8)[:, None])
        self._image.paste(strip.resize(self._image.size, Image.Resampling.NEAREST))

    def glow(self, x: Number, y: Number, radius: Number, colour: Colour, strength: Number) -> None:
        """Lighten softly around a point."""
        across = (np.arange(self.width) + 0.5) / self.width - x
        down = ((np.arange(self.height) + 0.5) / self.height - y) / self.aspect
        fall = np.exp(-(down[:, None] ** 2) / radius**2) * np.exp(-(across[None] ** 2) / radius**2)
        mask = Image.fromarray(np.rint(255 * strength * fall).astype(np.uint8))
        self._image.paste(_whole(colour), (0, 0), mask.resize(self._image.size, Image.Resampling.BILINEAR))

    def polygon(self, points: Points, colour: Colour) -> None:
        """Fill a polygon given in unit coordinates."""
        self._draw.polygon([self._at(x, y) for x, y in points], fill=_whole(colour))

    def below(self, line: Points, colour: Colour) -> None:
        """Fill everything below a line that runs from left to right."""
        self.polygon([*line, (1, 1.01), (0, 1.01)], colour)

    def disc(self, x: Number, y: Number, radius: Number, colour: Colour) -> None:
        """Fill a circle."""
        self.oval(x, y, radius, radius, colour)

    def oval(self, x: Number, y: Number, across: Number, down: Number, colour: Colour) -> None:
        """Fill an ellipse with its two radii in widths."""
        left, top = self._at(x - across, y - down * self.aspect)
        right, bottom = self._at(x + across, y + down * self.aspect)
        self._draw.ellipse((left, top, right, bottom), fill=_whole(colour))

    def ring(self, x: Number, y: Number, radius: Number, colour: Colour, thickness: Number) -> None:
        """Draw a circle's edge."""
        left, top = self._at(x - radius, y - radius * self.aspect)
        right, bottom = self._at(x + radius, y + radius * self.aspect)
        self._draw.ellipse((left, top, right, bottom), outline=_whole(colour), width=self._thick(thickness))

    def box(self, x: Number, y: Number, across: Number, down: Number, colour: Colour) -> None:
        """Fill a rectangle; x, y is its top left corner, both lengths are in widths."""
        self.polygon(
            [(x, y), (x + across, y), (x + across, y + down * self.aspect), (x, y + down * self.aspect)],
            colour,
        )

    def line(self, points: Points, colour: Colour, thickness: Number) -> None:
        """Draw a line through points."""
        self._draw.line(
            [self._at(x, y) for x, y in points],
            fill=_whole(colour),
            width=self._thick(thickness),
            joint="curve",
        )

    def around(self, x: Number, y: Number, size: Number = 1.0, *, facing: int = 1) -> Frame:
        """A frame for one figure: its origin is (x, y), its unit is ``size`` widths; facing -1 mirrors it."""
        return Frame(canvas=self, x=x, y=y, size=size, facing=facing)

    def finished(self) -> Image.Image:
        """The picture at its own size."""
        return self._image.reduce(_SCALE)

    def _at(self, x: Number, y: Number) -> tuple[Number, Number]:
        return x * self.width * _SCALE, y * self.height * _SCALE

    def _thick(self, thickness: Number) -> int:
        return max(1, round(thickness * self.width * _SCALE))


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where one figure stands: the figure is written once, in its own units, and keeps its proportions.

    Attributes:
        canvas: what is drawn on.
        x: of the origin, in shares of the canvas.
        y: of the origin.
        size: the unit, in widths of the canvas.
        facing: 1, or -1 where left and right change places.
    """

    canvas: Canvas
    x: Number
    y: Number
    size: Number
    facing: int

    def at(self, x: Number, y: Number) -> tuple[Number, Number]:
        """A point of the figure in shares of the canvas."""
        return self.x + x * self.size * self.facing, self.y + y * self.size * self.canvas.aspect

    def shape(self, points: Points, colour: Colour) -> None:
        """Fill a polygon."""
        self.canvas.polygon([self.at(x, y) for x, y in points], colour)

    def block(self, left: Number, right: Number, top: Number, bottom: Number, colour: Colour) -> None:
        """Fill a rectangle."""
        self.shape([(left, bottom), (right, bottom), (right, top), (left, top)], colour)

    def disc(self, x: Number, y: Number, radius: Number, colour: Colour) -> None:
        """Fill a circle."""
        self.oval(x, y, radius, radius, colour)

    def oval(self, x: Number, y: Number, across: Number, down: Number, colour: Colour) -> None:
        """Fill an ellipse with its two radii."""
        self.canvas.oval(*self.at(x, y), across * self.size, down * self.size, colour)

    def line(self, points: Points, colour: Colour, thickness: Number) -> None:
        """Draw a line through points; its thickness is in widths of the canvas."""
        self.canvas.line([self.at(x, y) for x, y in points], colour, thickness)


def _whole(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (min(255, max(0, round(part))) for part in colour)
    return red, green, blue
