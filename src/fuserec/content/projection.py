"""Rows of a catalogue, centred, turned to their principal components and partly whitened.

Whitening divides each component by its standard deviation, so that no few of them decide what is alike; it also
raises the noise of the last ones to the size of the first. Here each is divided by the root of its standard deviation
only. On the posters of MovieLens-1M, the ten nearest neighbours of a film share users (Jaccard) this many times as
often as any two films: 1.23 without whitening, 1.21 so, 1.12 with full whitening, 1.0 with random rows; and the poster that
most others have among their neighbours is among those of 119, 80, 36 and 22.

Shape legend
    I  items   W  width of the rows   D  components
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fuserec.errors import DataError
from fuserec.shapes import Bool, Float

__all__ = ["PROJECTION_VERSION", "Projection", "fit_projection"]

PROJECTION_VERSION = 1
"""Raised when the same rows come out otherwise than before."""

_BLOCK_BYTES = 1 << 24

_POWER = 0.5
"""Of the standard deviation that a component is divided by: 0 is plain principal components, 1 full whitening."""

_LEAST_VARIANCE = 1e-8
"""As a share of the first component's; below it stands what rounding to float32 left."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Projection:
    """What was fitted to the rows of a catalogue.

    Attributes:
        mean: (W,) of the rows present.
        matrix: (W, D) the components as columns, the largest first, each divided as the module says.
    """

    mean: Float[NDArray[np.float64], " W"]
    matrix: Float[NDArray[np.float64], "W D"]

    def apply(
        self, rows: Float[NDArray[np.floating[Any]], "I W"], present: Bool[NDArray[np.bool_], " I"]
    ) -> Float[NDArray[np.float32], "I D"]:
        """Project rows, which may be those of other items than it was fitted to.

        Args:
            rows: may be a memory map; read a block at a time.
            present: which of them mean something.

        Returns:
            (I, D) rows of unit length; zero where absent, and where a row is the mean itself, which has no direction.
        """
        projected = np.zeros((len(rows), self.matrix.shape[1]), dtype=np.float32)
        for places, block in _blocks(rows, present):
            components = (block - self.mean) @ self.matrix
            lengths = np.linalg.norm(components, axis=1, keepdims=True)
            projected[places] = np.divide(
                components, lengths, out=np.zeros_like(components), where=lengths > 0
            )
        return projected


def fit_projection(
    rows: Float[NDArray[np.floating[Any]], "I W"],
    present: Bool[NDArray[np.bool_], " I"],
    *,
    width: int = 256,
) -> Projection:
    """Fit a projection to the rows present.

    Args:
        rows: may be a memory map; read a block at a time, twice.
        present: which of them mean something.
        width: most components. There are no more than rows present, less one, nor than differ from one another,
            but always one, of zeros if need be.

    Raises:
        DataError: a row present holds NaN or infinity.
    """
    count = max(int(present.sum()), 1)
    mean = np.zeros(rows.shape[1])
    for _, block in _blocks(rows, present):
        mean += block.sum(axis=0) / count
    if not np.isfinite(mean).all():
        raise DataError("expected finite rows to project, but some hold NaN or infinity; encode them again")
    covariance = np.zeros((len(mean), len(mean)))
    for _, block in _blocks(rows, present):
        centred = block - mean
        covariance += centred.T @ centred / count
    variances, components = np.linalg.eigh(covariance)
    variances, components = variances[::-1], components[:, ::-1]
    told = variances > max(_LEAST_VARIANCE * variances[0], np.finfo(np.float64).tiny)
    kept = min(width, count - 1, int(told.sum()))
    if not kept:
        return Projection(mean=mean, matrix=np.zeros((len(mean), 1)))
    return Projection(
        mean=mean,
        matrix=_upright(components[:, :kept]) / variances[:kept] ** (_POWER / 2),
    )


def _upright(components: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same columns, each with its largest entry positive: a component comes with either sign."""
    largest = np.abs(components).argmax(axis=0)
    signs = np.sign(components[largest, np.arange(components.shape[1])])
    upright: NDArray[np.float64] = components * signs
    return upright


def _blocks(
    rows: NDArray[Any], present: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """The places of the rows present, and the rows, a block at a time."""
    places = np.flatnonzero(present)
    size = max(1, _BLOCK_BYTES // (8 * rows.shape[1]))
    for start in range(0, len(places), size):
        part = places[start : start + size]
        yield part, rows[part].astype(np.float64)
