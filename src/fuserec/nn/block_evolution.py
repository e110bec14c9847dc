"""The evolution of interest blocks: blocks attend to blocks, and events hear the last one that ended.

Shape legend
    T  packed events   B  histories   D  width   C  blocks of all histories   H  heads
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fuserec.nn.causal_attention import CausalAttention
from fuserec.nn.linear import normal_linear
from fuserec.ops.blocks import Blocks, block_means, of_block_before
from fuserec.shapes import Float

__all__ = ["BlockEvolution"]

OPEN_AT_FIRST = -3.0
"""What the gate's sigmoid is of before anything is learnt: .05."""


class BlockEvolution(nn.Module):
    """The state of the block before an event's own, times a gate; 0 in the first block.

    Source: MUFASA (arXiv 2508.09664). The means of the blocks attend causally to each other; what comes of a block is its
    state. A state is read only by the events of the next block, so none is read before its block is complete.

    Args:
        dim: D.
        heads: of the attention among blocks; D / H must be even.
        generator: draws the weights.

    Raises:
        ConfigError: the heads do not divide the width into even parts.
    """

    def __init__(self, dim: int, heads: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.attention = CausalAttention(dim, heads, generator=generator)
        self.gate = normal_linear(dim, 1, generator=generator)
        nn.init.constant_(self.gate.bias, OPEN_AT_FIRST)

    def forward(self, x: Float[Tensor, "T D"], blocks: Blocks) -> Float[Tensor, "T D"]:
        """(T, D) of the packed rows (T, D)."""
        states_CD = self.attention(block_means(x, blocks), blocks.offsets)
        opened: Tensor = self.gate(x).sigmoid()
        return of_block_before(states_CD, blocks) * opened
