"""Colours of a picture: the hour gives the light, the theme gives the things, the style turns the hue."""

from __future__ import annotations

from dataclasses import dataclass

from fuserec.data.sample.canvas import Colour, hex_colour, mix, rotate_hue

__all__ = ["PAPER", "Palette", "palette"]

PAPER = hex_colour("#f6f0e2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """The colours of one picture.

    Attributes:
        sky: from top to bottom.
        sun: the sun's disc, or the moon's.
        haze: what far things fade into.
        far: ground in the distance.
        near: ground in front.
        accent: the thing the picture is about.
        second: a companion of the accent.
        lit: windows, lamps, stars.
        night: the moon shines, not the sun.
    """

    sky: tuple[Colour, ...]
    sun: Colour
    haze: Colour
    far: Colour
    near: Colour
    accent: Colour
    second: Colour
    lit: Colour
    night: bool


# By the hour: sky (three), sun, haze, the tint that the light gives to things, and its strength.
_HOURS = {
    "dawn": (("#6b7fb0", "#e8a9ab", "#fce6c4"), "#fff4d8", "#f2c9ba", "#d58f9c", 0.16),
    "day": (("#3d93bd", "#93cfd4", "#f4eed6"), "#fffdf0", "#d3e6df", "#ffffff", 0.0),
    "dusk": (("#40305f", "#c04f6c", "#f8ab5a"), "#ffe09a", "#d8766c", "#70304f", 0.26),
    "night": (("#0b1233", "#1d2c62", "#4a68a0"), "#f5f1dc", "#3c568c", "#0c1640", 0.46),
}

# By the theme: far, near, accent, second, and what fills the sky in place of air, with its strength.
_THEMES = {
    "Sea tales": ("#5aa6b0", "#123f5a", "#c8443c", "#f6efdd", "#ffffff", 0.0),
    "Mountain walks": ("#8aa0bd", "#2b4152", "#f4f6f8", "#3f6f5a", "#ffffff", 0.05),
    "City lights": ("#7476a0", "#23243f", "#d95d5d", "#5c9ead", "#3b3560", 0.18),
    "Garden lore": ("#9cc28c", "#2f5d46", "#e2557b", "#f4b942", "#fdf3d0", 0.2),
    "Clockwork": ("#b08d57", "#3b2c24", "#c9772b", "#5f9a92", "#dcc08f", 0.62),
    "Star maps": ("#4a4d90", "#161a3a", "#f3d27a", "#7ad0d8", "#14163f", 0.66),
    "Desert roads": ("#e6b985", "#a3532f", "#3f7d5c", "#f8e6bf", "#f6d9a0", 0.16),
    "Winter hearth": ("#c4d4e4", "#eef3f7", "#b5443a", "#2e4d4f", "#dfe9f2", 0.2),
    "Deep forest": ("#9dbba4", "#17352f", "#e8823a", "#c9d68a", "#b9cfa0", 0.3),
    "Sky voyages": ("#ffffff", "#e6eef4", "#d9483b", "#f0b429", "#ffffff", 0.06),
    "River towns": ("#c99a78", "#6e3b34", "#e4a04c", "#4f8790", "#ffffff", 0.0),
    "Coral depths": ("#2d8fa5", "#0a3553", "#f0705a", "#f7c05e", "#0d6d8c", 0.62),
}


def palette(theme: str, hour: str, turn: float) -> Palette:
    """The palette of a theme at an hour.

    Args:
        theme: one of the themes of the sample's world.
        hour: one of its hours.
        turn: degrees by which all hues of things are turned; the light stays.
    """
    sky, sun, haze, tint, strength = _HOURS[hour]
    far, near, accent, second, air, thick = _THEMES[theme]

    def thing(text: str, *, share: float = 1.0) -> Colour:
        return mix(rotate_hue(hex_colour(text), turn), hex_colour(tint), strength * share)

    return Palette(
        sky=tuple(mix(hex_colour(stop), mix(hex_colour(air), hex_colour(stop), 0.25), thick) for stop in sky),
        sun=hex_colour(sun),
        haze=mix(hex_colour(haze), hex_colour(air), thick * 0.6),
        far=thing(far),
        near=thing(near),
        accent=thing(accent, share=0.5),
        second=thing(second, share=0.5),
        lit=hex_colour("#ffdf8e"),
        night=hour == "night",
    )
