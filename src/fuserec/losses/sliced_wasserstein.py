"""How far items are from lying evenly on the sphere, seen along random directions.

N. Bonneel, J. Rabin, G. Peyre, H. Pfister, "Sliced and Radon Wasserstein Barycenters of Measures" (2015): the distance of
two clouds is the mean over directions of the distance of their projections, which only need sorting.

Shape legend
    B  items of a batch   D  width   P  directions   A  angles of a table
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fuserec.ops.fusion import unit_or_zero
from fuserec.shapes import Float

__all__ = ["sliced_wasserstein", "sphere_quantiles"]

ANGLES = 2**14
"""Steps of the table that the quantiles are read from: they are off by less than 1e-6."""


def sliced_wasserstein(
    vectors: Float[Tensor, "B D"], *, num_directions: int, generator: torch.Generator
) -> Float[Tensor, ""]:
    """Squared sliced 2-Wasserstein distance to the uniform distribution on the sphere.

    Paper: MUFASA, docs/papers/mufasa.md Eq. (L4c). Where uniformity looks at pairs, this one looks at all items at
    once; and the other side of the distance is known, not drawn, so no noise comes from it.

    Args:
        vectors: (B, D), D at least 2; rows are scaled to unit length here.
        num_directions: P, at least 1; more make it steadier.
        generator: draws the directions.

    Returns:
        () from 0; items collapsed into one point cost 2 / D on average over the directions. 0 without an item.
    """
    if len(vectors) == 0:
        return vectors.sum() * 0.0
    drawn_DP = torch.randn(vectors.shape[1], num_directions, generator=generator, dtype=vectors.dtype)
    directions_DP = (drawn_DP / drawn_DP.norm(dim=0)).to(vectors.device)
    along_BP: Tensor = (unit_or_zero(vectors) @ directions_DP).sort(dim=0).values
    even_B = sphere_quantiles(len(vectors), vectors.shape[1]).to(vectors)
    return (along_BP - even_B[:, None]).square().mean()


def sphere_quantiles(count: int, dim: int) -> Float[Tensor, " B"]:
    """Where ``count`` evenly spread points of the sphere lie along any direction, in ascending order.

    The coordinate cos(a) of a uniform point has density sin(a)^(dim - 2) by the angle a; point i stands at quantile
    (i + 1/2) / count.

    Args:
        count: B, at least 1.
        dim: D, at least 2.

    Example:
        >>> [round(at, 4) for at in sphere_quantiles(2, 3).tolist()]  # in three dimensions a coordinate is uniform
        [-0.5, 0.5]
    """
    angles_A = torch.linspace(math.pi, 0.0, ANGLES + 1, dtype=torch.float64)
    density_A = angles_A.sin().clamp_min(0.0) ** (dim - 2)
    steps = (density_A[1:] + density_A[:-1]) / 2
    below_A = torch.cat([steps.new_zeros(1), steps.cumsum(0)]) / steps.sum()
    wanted_B = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    right_B = torch.searchsorted(below_A, wanted_B).clamp(1, ANGLES)
    left_B = right_B - 1
    share_B = (wanted_B - below_A[left_B]) / (below_A[right_B] - below_A[left_B])
    return torch.lerp(angles_A[left_B], angles_A[right_B], share_B).cos()
