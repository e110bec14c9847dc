"""How differently the genres are spread over the space.

A. Gretton et al., "A Kernel Two-Sample Test" (JMLR 2012), between every two genres of a batch.

Shape legend
    B  items of a batch   D  width   G  genres   H  genres that the batch has
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from fuserec.ops.fusion import unit_or_zero
from fuserec.shapes import Bool, Float

__all__ = ["genre_discrepancy", "genre_discrepancy_reference"]


def genre_discrepancy(vectors: Float[Tensor, "B D"], genres: Bool[Tensor, "B G"]) -> Float[Tensor, ""]:
    """Mean over pairs of genres of their squared maximum mean discrepancy, by the kernel exp(-2 ||f_i - f_j||^2).

    Paper: MUFASA, docs/papers/mufasa.md Eq. (L4b). The kernel is that of `uniformity`, so both see the space at one
    scale. It is the squared distance of the two means in the kernel's space, never below 0; drawn from one and the
    same distribution, small genres still lie somewhat apart.

    Args:
        vectors: (B, D); rows are scaled to unit length here.
        genres: (B, G) genres of an item; one of several genres counts in each.

    Returns:
        () from 0 to 2; 0 where the batch has fewer than two genres.

    Example:
        >>> round(float(genre_discrepancy(torch.eye(2), torch.eye(2) > 0)), 4)  # 2 - 2 exp(-4)
        1.9634
    """
    counts = genres.sum(0)
    found = counts > 0
    num_genres = int(found.sum())
    if num_genres < 2:
        return vectors.sum() * 0.0
    share_BH = genres[:, found] / counts[found].to(vectors.dtype)
    mean_HH = share_BH.T @ _kernel(vectors) @ share_BH
    # sum over g < h of q_gg + q_hh - 2 q_gh
    total = num_genres * mean_HH.trace() - mean_HH.sum()
    return total / (num_genres * (num_genres - 1) / 2)


def genre_discrepancy_reference(
    vectors: Float[Tensor, "B D"], genres: Bool[Tensor, "B G"]
) -> Float[Tensor, ""]:
    """`genre_discrepancy`, literally: pair of genres by pair of genres."""
    kernel_BB = _kernel(vectors)
    groups = [torch.nonzero(of_genre).squeeze(1) for of_genre in genres.T if of_genre.any()]
    terms = [
        kernel_BB[one][:, one].mean()
        + kernel_BB[other][:, other].mean()
        - 2 * kernel_BB[one][:, other].mean()
        for one, other in combinations(groups, 2)
    ]
    return torch.stack(terms).mean() if terms else vectors.sum() * 0.0


def _kernel(vectors: Float[Tensor, "B D"]) -> Float[Tensor, "B B"]:
    unit = unit_or_zero(vectors)
    return torch.exp(4.0 * (unit @ unit.T) - 4.0)
