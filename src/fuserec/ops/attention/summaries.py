"""Summaries of blocks: what stands for a block's events where they are not looked at one by one.

Shape legend
    B  histories   H  heads   L  positions   C  blocks   D  width   M  distances in blocks   T  packed positions
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fuserec.ops.attention.visibility import num_blocks
from fuserec.shapes import Float

__all__ = ["Summaries", "block_means"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summaries:
    """What is read in place of q and the means of k and v; None for those. The choice reads all but the values.

    Attributes:
        query: (B, H, L, D) or packed (T, H, D).
        key: (B, H, C, D), C blocks begun, or packed (sum of the histories' C, H, D).
        value: as ``key``.
        bias: (H, M), added to the scaled product; column m is for a block m + 1 blocks before the query's.
    """

    query: Float[Tensor, "*query D"] | None = None
    key: Float[Tensor, "*key D"] | None = None
    value: Float[Tensor, "*key D"] | None = None
    bias: Float[Tensor, "H M"] | None = None


def block_means(x: Float[Tensor, "B H L D"], block: int) -> Float[Tensor, "B H C D"]:
    """The mean of every block; of the last one, the mean of what it has so far (nobody sees that one)."""
    B, H, L, D = x.shape
    C = num_blocks(L, block)
    sums_BHCD = F.pad(x, (0, 0, 0, C * block - L)).view(B, H, C, block, D).sum(3)
    starts_C = torch.arange(C, device=x.device) * block
    return sums_BHCD / (L - starts_C).clamp(max=block)[:, None]
