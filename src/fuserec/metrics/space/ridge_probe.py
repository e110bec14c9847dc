"""How much of a modality can be read off the item vectors.

Shape legend
    I  items   D  width of the vectors   W  width of the features   T  items to fit on   H  items held out
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuserec.shapes import Float

__all__ = ["ridge_probe"]

SMALLEST = 1e-12
"""Ridge under which vectors that are all the same would leave the weights undetermined."""


def ridge_probe(
    vectors: Float[Tensor, "I D"],
    features: Float[Tensor, "I W"],
    *,
    generator: torch.Generator,
    held_out: float = 0.2,
    regularisation: float = 0.01,
) -> float:
    """R^2 on held-out items of the ridge regression that predicts features from vectors.

    Alignment alone is minimised by vectors that are the title and nothing else; what else survives shows here.

    Args:
        vectors: (I, D).
        features: (I, W) of the items that have them.
        generator: draws which items are held out.
        held_out: share of the items, above 0 and below 1; at least one is held out, and one is fitted on.
        regularisation: ridge, as a multiple of the mean variance of the vectors' columns; above 0.

    Returns:
        at most 1; 0 for what knows the mean alone, below for what does harm; NaN where there is nothing to predict.
    """
    if len(vectors) < 2:
        return float("nan")
    order = torch.randperm(len(vectors), generator=generator).to(vectors.device)
    count = min(len(order) - 1, max(1, round(held_out * len(order))))
    held, fitted = order[:count], order[count:]
    x_ID, y_IW = vectors.double(), features.double()
    x_ID, y_IW = x_ID - x_ID[fitted].mean(0), y_IW - y_IW[fitted].mean(0)
    gram_DD = x_ID[fitted].T @ x_ID[fitted]
    ridge = regularisation * gram_DD.diagonal().mean().clamp_min(SMALLEST)
    gram_DD.diagonal().add_(ridge)
    weights_DW = torch.linalg.solve(gram_DD, x_ID[fitted].T @ y_IW[fitted])
    total = y_IW[held].square().sum()
    missed = (y_IW[held] - x_ID[held] @ weights_DW).square().sum()
    return float(1.0 - missed / total) if total > 0 else float("nan")
