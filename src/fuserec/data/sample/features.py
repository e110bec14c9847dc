"""Feature matrices, computed from the texts and pictures as they stand in the files and from nothing else.

Shape legend
    I  items
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
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
    counts = [Counter(zlib.crc32(word.encode()) % _BUCKETS for word in _words(text)) for text in texts]
    rows = np.array([row for row, held in enumerate(counts) for _ in held], dtype=np.int64)
    buckets = np.array([bucket for held in counts for bucket in held], dtype=np.int64)
    times = np.array([count for held in counts for count in held.values()], dtype=np.float64)
    held_by = np.bincount(buckets, minlength=_BUCKETS)
    weights = np.log1p(times) * np.log((1 + len(texts)) / (1 + held_by))[buckets]
    lengths = np.sqrt(np.bincount(rows, weights=weights**2, minlength=len(texts)))
    weights /= np.maximum(lengths, 1e-12)[rows]
    reduced = _leading_scores(rows, buckets, weights, len(texts))
    norms = np.linalg.norm(reduced, axis=1, keepdims=True)
    unit = np.where(norms > 1e-9, reduced / np.maximum(norms, 1e-9), 0)
    return np.round(unit, 5).astype(np.float32)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _leading_scores(
    rows: NDArray[np.int64], buckets: NDArray[np.int64], weights: NDArray[np.float64], num_rows: int
) -> NDArray[np.float64]:
    """(I, TEXT_WIDTH) a sparse matrix times its leading right singular vectors, by orthogonal iteration.

    The vectors come up to a rotation among themselves, which changes no distance between rows.
    """
    by_bucket = np.argsort(buckets, kind="stable")

    def times(dense: NDArray[np.float64]) -> NDArray[np.float64]:
        return _sum_groups(rows, weights[:, None] * dense[buckets], num_rows)

    def transposed_times(dense: NDArray[np.float64]) -> NDArray[np.float64]:
        terms = weights[by_bucket, None] * dense[rows[by_bucket]]
        return _sum_groups(buckets[by_bucket], terms, _BUCKETS)

    basis = np.random.default_rng(0).normal(size=(_BUCKETS, TEXT_WIDTH))
    for _ in range(6):  # each turn multiplies the error by the squared ratio of singular values
        basis = _orthonormal(transposed_times(times(basis)))
    return times(basis)


def _sum_groups(groups: NDArray[np.int64], terms: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """(count, width) sums of the terms of each group; the groups are sorted."""
    sums = np.zeros((count, terms.shape[1]))
    if len(groups):
        starts = np.flatnonzero(np.diff(groups, prepend=-1))
        sums[groups[starts]] = np.add.reduceat(terms, starts, axis=0)
    return sums


def _orthonormal(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gram and Schmidt's basis of what the columns span, with zeros where they span less.

    By einsum, not by the linear algebra library: its threads wait by spinning, which took seconds on a busy machine,
    and its last digits change with their number.
    """
    basis = np.ascontiguousarray(columns.T)
    for place, vector in enumerate(basis):
        size = np.sqrt((vector**2).sum())
        for _ in range(2):  # once leaves what rounding leaves
            inside = np.einsum("jv,v->j", basis[:place], vector)
            vector -= np.einsum("j,jv->v", inside, basis[:place])
        left = np.sqrt((vector**2).sum())
        vector *= 1 / left if left > 1e-9 * size else 0
    return basis.T


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
