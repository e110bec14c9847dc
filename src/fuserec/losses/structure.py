"""Items are as far apart as their titles are: it keeps the structure, and no view can collapse.

Shape legend
    V  views of an item (its modalities, and what they fuse to)   B  items of a batch   N  those that have a view
    D  width of the space   W  width of the titles' features
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuserec.ops.fusion import unit_or_zero
from fuserec.shapes import Bool, Float, Int

__all__ = ["structure"]


def structure(
    views: Float[Tensor, "V B D"],
    titles: Float[Tensor, "B W"],
    *,
    present: Bool[Tensor, "V B"],
    items: Int[Tensor, " B"],
) -> Float[Tensor, ""]:
    """Mean over the views of the mean over pairs of distinct items of (cos(y_i, y_j) - cos(t_i, t_j))^2.

    Paper: MUFASA, docs/papers/mufasa.md Eq. (L3). Titles of many dimensions are nearly at right angles, so a view that has
    collapsed, cosine 1 everywhere, costs nearly 1; one that points anywhere costs 1 / D + 1 / W.

    Args:
        views: (V, B, D).
        titles: (B, W) the titles' features; no gradient flows into them.
        present: (V, B) views that an item has; others count nowhere.
        items: (B,) item rows; an item that stands twice makes no pair with itself.

    Returns:
        () the loss; a view without a pair is left out of the mean, which is 0 without any.

    Example:
        >>> options = {"present": torch.ones(1, 2) > 0, "items": torch.arange(2)}
        >>> round(float(structure(torch.ones(1, 2, 3), torch.eye(2), **options)), 4)  # collapsed: (1 - 0)^2
        1.0
    """
    unit = unit_or_zero(titles.detach())
    wanted = unit @ unit.T
    distinct = items[:, None] != items
    terms = []
    for view, here in zip(views, present, strict=True):
        pairs = distinct[here][:, here]
        if pairs.any():
            direction = unit_or_zero(view[here])
            apart = (direction @ direction.T - wanted[here][:, here]).square()
            terms.append(apart.masked_fill(~pairs, 0.0).sum() / pairs.sum())
    return torch.stack(terms).mean() if terms else views.sum() * 0.0
