"""Dense causal attention over packed histories.

Shape legend
    T  packed rows   B  histories   D  width   H  heads
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fuserec.errors import ConfigError
from fuserec.nn.linear import normal_linear
from fuserec.ops.attention import windowed
from fuserec.ops.rotary import positions, rotate
from fuserec.shapes import Float, Int

__all__ = ["CausalAttention"]


class CausalAttention(nn.Module):
    """Every event attends to itself and all earlier events of its history; rotary positions.

    Source: "Attention Is All You Need" (arXiv 1706.03762), section 3.2.2, with the positions of RoFormer. It is the windowed
    branch of `fuserec.ops.attention` with a window as long as the longest history.

    Args:
        dim: D.
        heads: H; D / H must be even.
        generator: draws the weights.

    Raises:
        ConfigError: the heads do not divide the width into even parts.
    """

    def __init__(self, dim: int, heads: int, *, generator: torch.Generator) -> None:
        super().__init__()
        if heads < 1 or dim % (2 * heads):
            raise ConfigError(
                f"expected dim to be a multiple of twice the heads, got dim {dim}, heads {heads}"
            )
        self.heads = heads
        self.qkv = normal_linear(dim, 3 * dim, generator=generator)
        self.out = normal_linear(dim, dim, generator=generator)

    def forward(self, x: Float[Tensor, "T D"], offsets: Int[Tensor, " B_plus_1"]) -> Float[Tensor, "T D"]:
        """(T, D) of the packed rows (T, D)."""
        q, k, v = self.projected(x, positions(offsets))
        longest = int(offsets.diff().max()) if len(offsets) > 1 else 1
        attended = windowed(q, k, v, window=max(longest, 1), offsets=offsets)
        mixed: Tensor = self.out(attended.reshape(x.shape))
        return mixed

    def projected(
        self, x: Float[Tensor, "T D"], places: Int[Tensor, " T"]
    ) -> tuple[Float[Tensor, "T H _"], Float[Tensor, "T H _"], Float[Tensor, "T H _"]]:
        """Queries and keys, turned, and values of events at these positions of their histories."""
        qkv = self.qkv(x).unflatten(1, (3 * self.heads, x.shape[1] // self.heads))
        both, v = qkv.split((2 * self.heads, self.heads), dim=1)
        # queries and keys turn by the same angles, so they turn in one call
        q, k = rotate(both, places).chunk(2, dim=1)
        return q, k, v
