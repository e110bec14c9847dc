"""Do the features tell items apart at all?

Shape legend
    I  items   P  items present   W  width
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fuserec.shapes import Bool, Float

__all__ = ["FEWEST_DIRECTIONS", "MOST_ALIKE", "Spread", "measure_spread"]

MOST_ALIKE = 0.99
"""Mean cosine of all pairs from which on features are called collapsed."""

FEWEST_DIRECTIONS = 1.5
"""Directions below which they are."""

BLOCK = 4096
"""Rows added to the products at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How the rows of a modality lie.

    Attributes:
        width: W.
        constant: columns that have one value for all items.
        mean_cosine: of all pairs of different items; 0 for fewer than two.
        directions: the participation ratio (sum of l)^2 / sum of l^2 of the eigenvalues l of the covariance of the rows,
            brought to length 1: W where all directions carry as much, 1 where one carries everything, 0 where all rows
            are one.
    """

    width: int
    constant: int
    mean_cosine: float
    directions: float

    @property
    def collapsed(self) -> bool:
        """The rows are all but one and the same, or lie on a line."""
        return self.mean_cosine >= MOST_ALIKE or self.directions < FEWEST_DIRECTIONS


def measure_spread(features: Float[Tensor, "I W"], present: Bool[Tensor, " I"]) -> Spread:
    """Look at the rows of the items present; exact, without drawing pairs.

    Example:
        >>> found = measure_spread(torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0], [0.0, -4.0]]), torch.ones(4) > 0)
        >>> found.constant, round(found.mean_cosine, 3), round(found.directions, 3)
        (0, -0.333, 2.0)
    """
    rows = normalize(features[present], dim=1)
    count, width = rows.shape
    if count < 2:
        return Spread(width=width, constant=width, mean_cosine=0.0, directions=0.0)
    given = features[present]
    total = rows.double().sum(0)
    mean = total / count
    # The smaller of the two products has the same eigenvalues, apart from zeros.
    product = _product_of_columns(rows, mean) if width <= count else _product_of_rows(rows, mean)
    trace, squares = product.diagonal().sum(), product.square().sum()
    spread = trace > count * torch.finfo(torch.float32).eps
    return Spread(
        width=width,
        constant=int((given.amax(0) == given.amin(0)).sum()),
        mean_cosine=float((total.square().sum() - count) / (count * (count - 1))),
        directions=float(trace.square() / squares) if spread else 0.0,
    )


def _product_of_columns(rows: Float[Tensor, "P W"], mean: Float[Tensor, " W"]) -> Float[Tensor, "W W"]:
    """(X - m)^T (X - m), a block of rows at a time."""
    total = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
    for block in rows.split(BLOCK):
        centred = (block - mean).float()
        total += (centred.T @ centred).double()
    return total


def _product_of_rows(rows: Float[Tensor, "P W"], mean: Float[Tensor, " W"]) -> Float[Tensor, "P P"]:
    """(X - m) (X - m)^T."""
    centred = (rows - mean).float()
    return (centred @ centred.T).double()
