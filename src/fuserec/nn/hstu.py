"""The block of HSTU: pointwise attention between gates, and no feed-forward.

"Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative Recommendations", J. Zhai et
al. ICML 2024, arXiv 2402.17152, section 3.2. Departures: docs/papers/hstu.md.

Shape legend
    T  packed rows   B  histories   D  width   H  heads   L  distances of the longest history   M  buckets
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuserec.errors import ConfigError
from fuserec.nn.dropout import Dropout
from fuserec.nn.linear import normal_linear
from fuserec.ops.pointwise_attention import pointwise_attention
from fuserec.shapes import Float, Int

__all__ = ["HstuBlock", "distance_buckets"]

BUCKETS = 128
"""Of distances: the exact ones, and eight for each doubling up to 131,072 events."""

EXACT, OF_A_DOUBLING = 32, 8

SMALLEST_VARIANCE = 1e-6


class HstuBlock(nn.Module):
    """x + W_2 drop(LN(A V) * U), with U, V, Q, K the quarters of SiLU(W_1 LN x + b_1).

    Paper: HSTU Eq. (1) to (3). A is `fuserec.ops.pointwise_attention`; its bias is learnt by head and bucket of distance.
    The normalisations have no weights of their own: the linear layers behind them would undo or repeat these.

    Args:
        dim: D.
        heads: H, which divides D.
        dropout: on the gated output, before W_2.
        generator: draws the weights.

    Raises:
        ConfigError: the heads do not divide the width.
    """

    def __init__(self, dim: int, heads: int, *, dropout: Dropout, generator: torch.Generator) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise ConfigError(f"expected dim to be a multiple of the heads, got dim {dim}, heads {heads}")
        self.heads = heads
        self.uvqk = normal_linear(dim, 4 * dim, generator=generator)
        self.bias_HM = nn.Parameter(torch.empty(heads, BUCKETS).normal_(std=0.02, generator=generator))
        self.out = normal_linear(dim, dim, generator=generator)
        self.dropout = dropout

    def forward(self, x: Float[Tensor, "T D"], offsets: Int[Tensor, " B_plus_1"]) -> Float[Tensor, "T D"]:
        """(T, D) of the packed rows (T, D)."""
        u, v, q, k = F.silu(self.uvqk(_normalised(x))).chunk(4, dim=1)
        q, k, v = (part.unflatten(1, (self.heads, -1)) for part in (q, k, v))
        longest = int(offsets.diff().max()) if len(offsets) > 1 else 0
        distance_L = torch.arange(longest, device=x.device)
        bias_HL = self.bias_HM[:, distance_buckets(distance_L)]
        attended = pointwise_attention(q, k, v, bias_HL, offsets=offsets).flatten(1)
        mixed: Tensor = x + self.out(self.dropout(_normalised(attended) * u))
        return mixed


def distance_buckets(distances: Int[Tensor, " L"]) -> Int[Tensor, " L"]:
    """The bucket of each distance: exact below 32, then eight for each doubling, the last for all beyond.

    Args:
        distances: (L,) at least 0.

    Example:
        >>> distance_buckets(torch.tensor([0, 31, 32, 34, 35, 64, 10**9])).tolist()
        [0, 31, 32, 32, 33, 40, 127]
    """
    # in double, powers of two fall on their borders exactly
    doublings = (distances.clamp_min(EXACT).double() / EXACT).log2()
    spaced = EXACT + (doublings * OF_A_DOUBLING).floor().long()
    return torch.where(distances < EXACT, distances, spaced.clamp_max(BUCKETS - 1))


def _normalised(x: Float[Tensor, "T D"]) -> Float[Tensor, "T D"]:
    return F.layer_norm(x, x.shape[1:], eps=SMALLEST_VARIANCE)
