"""Encoders of texts and pictures by the names that users give them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fuserec.content.encoder import Encoder
from fuserec.content.pictures.descriptor import Descriptor
from fuserec.content.projection import PROJECTION_VERSION
from fuserec.content.text import TextEncoder
from fuserec.content.vision import VisionEncoder
from fuserec.content.weights import BUILT_IN, find_model
from fuserec.data.schema import EncoderEntry
from fuserec.errors import ConfigError

__all__ = [
    "CLASSICAL",
    "DEFAULT_TEXT",
    "is_projected",
    "model_of",
    "options_of",
    "picture_encoder",
    "text_encoder",
]

DEFAULT_TEXT = "all-MiniLM-L6-v2"
CLASSICAL = "classical"
"""The encoder of pictures that needs no weights."""


def model_of(modality: str, entry: EncoderEntry | None, *, default: str) -> str:
    """The name of the model that made features, so that more are made alike; the default where none was asked.

    Raises:
        ConfigError: it came from a folder, whose place nobody wrote down.
    """
    if entry is None or "model" not in entry.options:
        return default
    model, revision = entry.options["model"], entry.options.get("revision")
    if model not in BUILT_IN and "/" not in model:
        option = "--image" if modality == "image" else "--text"
        raise ConfigError(
            f"expected the folder of the model {model!r}, which made the {modality} features; name it, or another model, "
            f"with {option}"
        )
    return f"{model}@{revision}" if revision else model


def text_encoder(name: str, *, longest: int | None, device: str, download: bool) -> TextEncoder:
    """The encoder of titles and texts.

    Raises:
        ConfigError: there is no such model here.
        MissingExtraError: its package is not installed.
    """
    return TextEncoder(find_model(name, download=download), longest=longest, device=_known(device))


def picture_encoder(name: str, *, device: str, download: bool) -> Descriptor | VisionEncoder:
    """The encoder of pictures; ``classical`` needs no weights.

    Raises:
        ConfigError: there is no such model here.
        MissingExtraError: its package is not installed.
    """
    if name == CLASSICAL:
        return Descriptor()
    return VisionEncoder(find_model(name, download=download), device=_known(device))


def options_of(encoder: Encoder) -> Mapping[str, Any]:
    """All that decides the features: the encoder's options, and by which version its rows are projected, where they are."""
    return {**encoder.options, "projection": PROJECTION_VERSION} if is_projected(encoder) else encoder.options


def is_projected(encoder: Encoder) -> bool:
    """Whether the rows of an encoder are whitened over the catalogue: what nobody learnt has a scale of its own."""
    return isinstance(encoder, Descriptor)


def _known(device: str) -> str:
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", device):
        raise ConfigError(f"expected the device cpu, cuda, cuda:1, ... or mps, got {device!r}")
    return device
