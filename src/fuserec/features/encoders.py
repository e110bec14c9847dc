"""Encoders of texts and pictures by the names that users give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fuserec.content.pictures.descriptor import Descriptor
from fuserec.content.projection import PROJECTION_VERSION
from fuserec.content.text import TextEncoder
from fuserec.content.vision import VisionEncoder
from fuserec.content.weights import find_model

__all__ = ["CLASSICAL", "DEFAULT_TEXT", "image_options", "picture_encoder", "text_encoder"]

DEFAULT_TEXT = "all-MiniLM-L6-v2"
CLASSICAL = "classical"
"""The encoder of pictures that needs no weights."""


def text_encoder(name: str, *, longest: int | None, device: str, download: bool) -> TextEncoder:
    """The encoder of titles and texts.

    Raises:
        ConfigError: there is no such model here.
        MissingExtraError: its package is not installed.
    """
    return TextEncoder(find_model(name, download=download), longest=longest, device=device)


def picture_encoder(name: str, *, device: str, download: bool) -> Descriptor | VisionEncoder:
    """The encoder of pictures; ``classical`` needs no weights.

    Raises:
        ConfigError: there is no such model here.
        MissingExtraError: its package is not installed.
    """
    if name == CLASSICAL:
        return Descriptor()
    return VisionEncoder(find_model(name, download=download), device=device)


def image_options(encoder: Descriptor | VisionEncoder) -> Mapping[str, Any]:
    """All that decides the features of pictures: the encoder's options, and whether its rows are projected."""
    if isinstance(encoder, Descriptor):
        return {**encoder.options, "projection": PROJECTION_VERSION}
    return encoder.options
