"""Feature matrices, computed from the texts and pictures as they stand in the files and from nothing else.

Shape legend
    I  items   V  buckets of words
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["IMAGE_WIDTH", "TEXT_WIDTH", "describe_picture", "text_features"]

TEXT_WIDTH = 128
IMAGE_WIDTH = 112
_BUCKETS = 2048
_COLOUR_LEVELS = 4
_CELLS_DOWN, _CELLS_ACROSS, _ORIENTATIONS = 3, 2, 8


def text_features(texts: Sequence[str]) -> NDArray[np.float32]:
    """Hashed TF-IDF, reduced by a singular value decomposition.

    Args:
        texts: I texts; an empty one gets a zero row.

    Returns:
        (I, TEXT_WIDTH) rows of unit length.
    """
    counts = np.zeros((len(texts), _BUCKETS))
    for row, text in enumerate(texts):
        for word in re.findall(r"\w+", text.lower()):
            counts[row, zlib.crc32(word.encode()) % _BUCKETS] += 1
    held_by = (counts > 0).sum(axis=0)
    weights = np.log1p(counts) * np.log((1 + len(texts)) / (1 + held_by))
    weights /= np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), 1e-12)
    reduced = _leading_scores(weights, TEXT_WIDTH)
    norms = np.linalg.norm(reduced, axis=1, keepdims=True)
    unit = np.where(norms > 1e-9, reduced / np.maximum(norms, 1e-9), 0)
    return np.round(unit, 5).astype(np.float32)


def _leading_scores(weights: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """(I, width) left singular vectors times singular values; each is positive where it is largest."""
    used = weights[:, weights.any(axis=0)]
    range_ = used @ np.random.default_rng(0).normal(size=(used.shape[1], min(width + 16, *used.shape)))
    for _ in range(3):  # the error falls with the sixth power of the ratio of singular values
        range_ = used @ (used.T @ range_)
        range_ /= np.linalg.norm(range_, axis=0)
    basis = np.linalg.qr(range_)[0]
    left, values, _ = np.linalg.svd(basis.T @ used, full_matrices=False)
    leading = basis @ (left * values)[:, :width]
    leading *= np.sign(leading[np.abs(leading).argmax(axis=0), np.arange(leading.shape[1])])
    scores = np.zeros((len(weights), width))
    scores[:, : leading.shape[1]] = leading
    return scores


def describe_picture(picture: Image.Image) -> NDArray[np.float32]:
    """Colours, and directions of edges in six cells, at half the size.

    Args:
        picture: any mode, at least 4 x 4 pixels.

    Returns:
        (IMAGE_WIDTH,) the square roots of a histogram of 64 colours, then of 6 x 8 edge directions weighted by
        their strength; each of the two has unit length (or is zero: a picture of one colour has no edges).
    """
    pixels = np.asarray(picture.convert("RGB").reduce(2))
    levels = pixels.astype(np.int64) * _COLOUR_LEVELS // 256
    codes = (levels[..., 0] * _COLOUR_LEVELS + levels[..., 1]) * _COLOUR_LEVELS + levels[..., 2]
    colours = np.bincount(codes.ravel(), minlength=_COLOUR_LEVELS**3).astype(np.float64)

    down, across = np.gradient(pixels.mean(axis=2))
    strength = np.hypot(down, across)
    turn = np.arctan2(down, across) % np.pi
    direction = np.minimum((turn * _ORIENTATIONS / np.pi).astype(np.int64), _ORIENTATIONS - 1)
    height, width = strength.shape
    cell_down = np.arange(height) * _CELLS_DOWN // height
    cell_across = np.arange(width) * _CELLS_ACROSS // width
    cells = (cell_down[:, None] * _CELLS_ACROSS + cell_across) * _ORIENTATIONS + direction
    edges = np.bincount(
        cells.ravel(), weights=strength.ravel(), minlength=_CELLS_DOWN * _CELLS_ACROSS * _ORIENTATIONS
    )
    parts = [np.sqrt(part / max(part.sum(), 1e-12)) for part in (colours, edges)]
    return np.concatenate(parts).astype(np.float32)
