"""Content points where the interactions point.

Shape legend
    B  items of a batch   N  those with a collaborative vector   D  width of the collaborative space
"""

from __future__ import annotations

from torch import Tensor

from fuserec.losses.info_nce import info_nce
from fuserec.shapes import Bool, Float, Int

__all__ = ["collaborative_alignment"]


def collaborative_alignment(
    mapped: Float[Tensor, "B D"],
    collaborative: Float[Tensor, "B D"],
    *,
    known: Bool[Tensor, " B"],
    items: Int[Tensor, " B"],
    temperature: float,
) -> Float[Tensor, ""]:
    """Symmetric InfoNCE between fused items, mapped there, and what training interactions alone say of them.

    Paper: MUFASA, docs/papers/mufasa.md Eq. (L2).

    Args:
        mapped: (B, D) W_c f.
        collaborative: (B, D) c, frozen; no gradient flows into it.
        known: (B,) items with interactions enough to be known by them; others are neither found nor negatives.
        items: (B,) item rows; an item that stands twice is no negative of itself.
        temperature: divides the cosines; above 0.

    Returns:
        () the loss in nats; 0 where no item is known.

    Example:
        >>> import torch
        >>> here, anywhere = torch.ones(3) > 0, torch.ones(3, 2)
        >>> blind = collaborative_alignment(anywhere, anywhere, known=here, items=torch.arange(3), temperature=0.1)
        >>> round(float(blind), 4)  # log 3
        1.0986
    """
    rows = items[known]
    return info_nce(
        mapped[known],
        collaborative.detach()[known],
        temperature=temperature,
        same=rows[:, None] == rows,
    )
