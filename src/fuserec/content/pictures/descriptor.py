"""Pictures described by their colours and edges, without learnt weights: what stands in for a model where there is none.

Each picture is squeezed into a small square. Three parts say what is on it: its colours, its colours in each cell of
a coarse grid, and histograms of oriented gradients (Dalal and Triggs, CVPR 2005). Histograms of colours are
square-rooted, and each part has unit length, so that none outweighs the others.

Shape legend
    B  pictures of a batch   S  side of the square   P  pixels of it   C  cells   W  width of a row
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fuserec.content.encoder import Encoded, Problem
from fuserec.content.pictures.read import read_each
from fuserec.shapes import Float, Int

__all__ = ["Descriptor"]

_SIDE = 96
_COLOUR_GRID = 4
_EDGE_GRID = 4
_ORIENTATIONS = 9
_BLOCK = 2
_CLIP = 0.2
_NOISE = 1e-2
"""Beside the energy of a block of cells, so that a plain one is not blown up to full length."""

_FINE = (8, 12, 2, 3)
_COARSE = (4, 6, 1, 2)
"""Levels of grey, then of hue, saturation and brightness of what is no grey."""
_GREY = 38
"""Less saturation or brightness (of 255) is grey: hue means nothing there."""

_FLAT = 12.0
"""Standard deviation of every colour channel (of 255) below which a picture counts as one of a single colour."""

_BATCH = 64


@dataclass(frozen=True, slots=True)
class Descriptor:
    """The encoder of pictures that needs no weights; it keeps the promise of `fuserec.content.encoder.Encoder`."""

    @property
    def name(self) -> str:
        """What it is, and what it is not."""
        return "colours and edges (classical, no learnt weights)"

    @property
    def options(self) -> Mapping[str, Any]:
        """All that decides the numbers."""
        return {
            "kind": "descriptor",
            "version": 1,
            "side": _SIDE,
            "colour_grid": _COLOUR_GRID,
            "edge_grid": _EDGE_GRID,
            "orientations": _ORIENTATIONS,
        }

    @property
    def width(self) -> int:
        """W."""
        blocks = (_EDGE_GRID - _BLOCK + 1) ** 2
        colours = _num_colours(_FINE) + _COLOUR_GRID**2 * _num_colours(_COARSE)
        return colours + blocks * _BLOCK**2 * _ORIENTATIONS

    def batches(self, inputs: Sequence[Any]) -> list[NDArray[np.int64]]:
        """Positions in order."""
        return [
            np.arange(start, min(start + _BATCH, len(inputs)), dtype=np.int64)
            for start in range(0, len(inputs), _BATCH)
        ]

    def encode(self, inputs: Sequence[Any]) -> Encoded:
        """Describe the pictures at these paths."""
        squares, problems = read_each([Path(path) for path in inputs], _square, least=_SIDE)
        read = [position for position, square in enumerate(squares) if square is not None]
        rows = np.zeros((len(squares), self.width), dtype=np.float32)
        if read:
            pixels = np.stack([square for square in squares if square is not None])
            rows[read] = _describe(pixels)
            deviations = pixels[..., :3].reshape(len(pixels), -1, 3).std(axis=1).max(axis=1)
            message = "the picture is nearly of one colour; it may be a placeholder"
            flat = tuple(
                Problem(position=read[place], kind="flat", message=message, lost=False)
                for place in np.flatnonzero(deviations < _FLAT).tolist()
            )
            problems = tuple(sorted(problems + flat, key=lambda problem: problem.position))
        return Encoded(rows=rows, problems=problems)


def _square(image: Image.Image) -> NDArray[np.uint8]:
    """(S, S, 6) red, green, blue, hue, saturation and brightness, each of 255."""
    small = image.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.concatenate([np.asarray(small), np.asarray(small.convert("HSV"))], axis=2)


def _describe(pixels: NDArray[np.uint8]) -> Float[NDArray[np.float64], "B W"]:
    """The three parts beside each other, of (B, S, S, 6) pixels."""
    colours = pixels[..., 3:].astype(np.int64)
    parts = (
        _colours(colours, _FINE, 1),
        _colours(colours, _COARSE, _COLOUR_GRID),
        _edges(pixels[..., :3], _EDGE_GRID),
    )
    return np.concatenate(
        [part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12) for part in parts], axis=1
    )


def _num_colours(levels: tuple[int, int, int, int]) -> int:
    greys, hues, saturations, brightnesses = levels
    return greys + hues * saturations * brightnesses


def _colours(
    colours: Int[NDArray[np.int64], "B S S 3"], levels: tuple[int, int, int, int], grid: int
) -> Float[NDArray[np.float64], "B _"]:
    """Square roots of the share of each colour in each cell of a grid."""
    greys, hues, saturations, brightnesses = levels
    hue, saturation, brightness = np.moveaxis(colours, -1, 0)
    vivid = hue * hues // 256 * saturations + _level(saturation, saturations)
    code = np.where(
        (saturation < _GREY) | (brightness < _GREY),
        brightness * greys // 256,
        greys + vivid * brightnesses + _level(brightness, brightnesses),
    )
    return np.sqrt(_histograms(code, grid, _num_colours(levels)))


def _level(values: NDArray[np.int64], levels: int) -> NDArray[np.int64]:
    """Equal steps from grey to the full 255."""
    level: NDArray[np.int64] = (values - _GREY).clip(min=0) * levels // (256 - _GREY)
    return level


def _histograms(
    codes: Int[NDArray[np.int64], "B S S"],
    grid: int,
    bins: int,
    weights: Float[NDArray[np.float64], "B S S"] | None = None,
) -> Float[NDArray[np.float64], "B _"]:
    """Of each cell, one after the other; means over all pixels of the picture."""
    count, side = codes.shape[:2]
    line = np.arange(side) * grid // side
    cells = np.arange(count)[:, None, None] * grid**2 + line[:, None] * grid + line
    places = (cells * bins + codes).ravel()
    sums = np.bincount(
        places, weights=None if weights is None else weights.ravel(), minlength=count * grid**2 * bins
    )
    shares: NDArray[np.float64] = sums.reshape(count, grid**2 * bins) / side**2
    return shares


def _edges(rgb: NDArray[np.uint8], grid: int) -> Float[NDArray[np.float64], "B _"]:
    """Histograms of oriented gradients: directions of edges by cell, made comparable over blocks of cells; of (B, S, S, 3)."""
    light = np.sqrt(rgb @ np.array([0.299, 0.587, 0.114]) / 255)
    padded = np.pad(light, ((0, 0), (1, 1), (1, 1)), mode="edge")
    across = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    strength = np.hypot(across, down)
    turn = np.arctan2(down, across) % np.pi * (_ORIENTATIONS / np.pi) - 0.5
    lower = np.floor(turn)
    share = turn - lower
    bins = lower.astype(np.int64)
    # Each edge is shared between the two directions that are nearest to its own.
    cells = _histograms(bins % _ORIENTATIONS, grid, _ORIENTATIONS, strength * (1 - share))
    cells += _histograms((bins + 1) % _ORIENTATIONS, grid, _ORIENTATIONS, strength * share)
    cells = cells.reshape(len(rgb), grid, grid, _ORIENTATIONS) * grid**2
    places = range(_BLOCK)
    last = grid - _BLOCK + 1
    blocks = np.concatenate(
        [cells[:, row : row + last, column : column + last] for row in places for column in places], axis=-1
    )
    clipped = np.minimum(blocks / np.sqrt((blocks**2).sum(axis=-1, keepdims=True) + _NOISE**2), _CLIP)
    rows: NDArray[np.float64] = clipped / np.sqrt((clipped**2).sum(axis=-1, keepdims=True) + _NOISE**2)
    return rows.reshape(len(rgb), -1)
