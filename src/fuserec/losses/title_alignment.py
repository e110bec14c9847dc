"""Every view of an item is found from its title, and the title from it, whatever the genres.

Shape legend
    V  views of an item (its modalities, and what they fuse to)   B  items of a batch   N  those that have a view
    D  width of the space   W  width of the titles' features
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuserec.losses.info_nce import info_nce
from fuserec.ops.fusion import unit_or_zero
from fuserec.shapes import Bool, Float, Int

__all__ = ["title_alignment"]


def title_alignment(
    views: Float[Tensor, "V B D"],
    anchor: Float[Tensor, "B D"],
    *,
    present: Bool[Tensor, "V B"],
    titles: Float[Tensor, "B W"],
    items: Int[Tensor, " B"],
    temperature: float,
    same_above: float = 2.0,
) -> Float[Tensor, ""]:
    """Mean over the views of the symmetric InfoNCE between a view and the anchor, which stands still.

    Paper: MUFASA, docs/papers/mufasa.md Eq. (L1). The negatives of an item are all other items of the batch that have
    the view, of its own genres and of others alike. Near-duplicate *titles* are not negatives of each other: that is
    asked of the titles as they come, because what is learnt says at the start that all items are alike, or that none are.

    Args:
        views: (V, B, D).
        anchor: (B, D) the titles in the same space; no gradient flows into them.
        present: (V, B) views that an item has; others count nowhere.
        titles: (B, W) the titles' features.
        items: (B,) item rows; an item that stands twice is no negative of itself.
        temperature: divides the cosines; above 0.
        same_above: titles of a larger cosine count as the same; 2 for none.

    Returns:
        () the loss in nats; a view that no item has is left out of the mean, which is 0 without any.

    Example:
        >>> space = torch.eye(2)
        >>> options = {"present": torch.ones(1, 2) > 0, "titles": space, "items": torch.arange(2)}
        >>> round(float(title_alignment(space[None], space, temperature=1.0, **options)), 4)  # log(1 + 1/e)
        0.3133
    """
    unit = unit_or_zero(titles.detach())
    same = (unit @ unit.T > same_above) | (items[:, None] == items)
    still = anchor.detach()
    terms = []
    for view, here in zip(views, present, strict=True):
        if here.any():
            terms.append(info_nce(view[here], still[here], temperature=temperature, same=same[here][:, here]))
    return torch.stack(terms).mean() if terms else views.sum() * 0.0
