"""What a block's distance adds to its score.

Shape legend
    H  heads   M  distances in blocks   R  ranges of distances
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuserec.shapes import Float, Int

__all__ = ["BlockBias", "distance_ranges"]

RANGES = 24
"""One for each of the four nearest blocks, then two for each doubling: the last one begins 3,073 blocks back."""


class BlockBias(nn.Module):
    """A learnt number for each head and range of distances, at first 0; as far as anybody asks.

    Args:
        heads: H.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(RANGES, heads))

    def forward(self, distances: int) -> Float[Tensor, "H M"]:
        """(H, M) of the distances 1 .. M in blocks."""
        bias_MH = F.embedding(distance_ranges(distances, device=self.table.device), self.table)
        return bias_MH.T


def distance_ranges(distances: int, *, device: torch.device | str = "cpu") -> Int[Tensor, " M"]:
    """The range of each of the distances 1 .. M; what is further than the last range begins is in it.

    Example:
        >>> distance_ranges(9).tolist()
        [0, 1, 2, 3, 4, 4, 5, 5, 6]
    """
    # 1, 2, 3, 4, then 5, 7, 9, 13, 17, 25, ...: 4 and 6 times powers of two, and one
    begins = [1, 2, 3, 4] + [(4 + 2 * (n % 2)) * 2 ** (n // 2) + 1 for n in range(RANGES - 4)]
    distances_M = torch.arange(1, distances + 1, device=device)
    return torch.bucketize(distances_M, torch.tensor(begins, device=device), right=True) - 1
