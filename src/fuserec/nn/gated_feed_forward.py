"""A feed-forward whose hidden numbers are multiplied by gates.

Shape legend
    T  packed rows   D  width
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuserec.nn.linear import normal_linear
from fuserec.shapes import Float

__all__ = ["GatedFeedForward"]


class GatedFeedForward(nn.Module):
    """W_3 (silu(W_1 x) * W_2 x).

    Source: SwiGLU, "GLU Variants Improve Transformer" (arXiv 2002.05202). With two thirds of the hidden numbers it has
    as many parameters as a feed-forward without gates.

    Args:
        dim: D.
        hidden: width between.
        generator: draws the weights.
    """

    def __init__(self, dim: int, hidden: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.up = normal_linear(dim, 2 * hidden, generator=generator)
        self.down = normal_linear(hidden, dim, generator=generator)

    def forward(self, x: Float[Tensor, "T D"]) -> Float[Tensor, "T D"]:
        """(T, D) of (T, D)."""
        gates, values = self.up(x).chunk(2, dim=1)
        out: Tensor = self.down(F.silu(gates) * values)
        return out
