"""The cover of an item: its scene on cream paper, marked as synthetic at the foot."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from PIL import Image

from fuserec.data.sample import heavens, landscapes, waters, wonders
from fuserec.data.sample.canvas import Canvas, mix
from fuserec.data.sample.palettes import PAPER, Palette, palette
from fuserec.data.sample.style import Style

__all__ = ["HEIGHT", "WIDTH", "draw_picture", "encode_png"]

WIDTH, HEIGHT = 128, 160
_MARGIN, _FOOT = 6, 14
_TURN = 44.0  # degrees of hue between the two ends of a style

_SCENES: Mapping[str, Callable[[Canvas, Palette, Style, np.random.Generator], None]] = MappingProxyType(
    {
        "Sea tales": waters.sea,
        "Mountain walks": landscapes.mountains,
        "City lights": wonders.city,
        "Garden lore": wonders.garden,
        "Clockwork": wonders.clockwork,
        "Star maps": heavens.star_map,
        "Desert roads": landscapes.desert,
        "Winter hearth": landscapes.winter,
        "Deep forest": landscapes.forest,
        "Sky voyages": heavens.sky_voyage,
        "River towns": waters.river,
        "Coral depths": waters.coral,
    }
)

# The mark, three pixels wide a letter: no font is needed, so it looks the same everywhere.
_LETTERS = {
    "S": "011100010001110",
    "Y": "101101010010010",
    "N": "110101101101101",
    "T": "111010010010010",
    "H": "101101111101101",
    "E": "111100110100111",
    "I": "111010010010111",
    "C": "011100100100011",
}


def draw_picture(theme: str, hour: str, style: Style, rng: np.random.Generator) -> Image.Image:
    """The cover, WIDTH x HEIGHT pixels.

    Args:
        theme: which scene.
        hour: its light.
        style: its composition.
        rng: what makes it differ from others of the same theme, hour and style.
    """
    scene = Canvas(WIDTH - 2 * _MARGIN, HEIGHT - _MARGIN - _FOOT)
    _SCENES[theme](scene, palette(theme, hour, _TURN * (style.turn - 0.5)), style, rng)
    red, green, blue = (round(part) for part in PAPER)
    cover = Image.new("RGB", (WIDTH, HEIGHT), (red, green, blue))
    cover.paste(scene.finished(), (_MARGIN, _MARGIN))
    _mark(cover)
    return cover


def encode_png(picture: Image.Image) -> bytes:
    """The bytes of a PNG file; the same for the same picture and Pillow."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=False, compress_level=2)
    return buffer.getvalue()


def _mark(cover: Image.Image) -> None:
    """SYNTHETIC in tiny grey letters at the foot."""
    word = "SYNTHETIC"
    red, green, blue = (round(part) for part in mix(PAPER, (90, 80, 70), 0.5))
    left, top = (WIDTH - 6 * len(word) + 3) // 2, HEIGHT - _FOOT + 5
    for place, letter in enumerate(word):
        for pixel, on in enumerate(_LETTERS[letter]):
            if on == "1":
                cover.putpixel((left + 6 * place + pixel % 3, top + pixel // 3), (red, green, blue))
