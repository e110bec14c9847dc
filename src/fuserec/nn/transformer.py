"""The block of a transformer, normalised before each part.

Shape legend
    T  packed rows   B  histories   D  width
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuserec.nn.causal_attention import CausalAttention
from fuserec.nn.dropout import Dropout
from fuserec.nn.linear import normal_linear
from fuserec.shapes import Float, Int

__all__ = ["FeedForward", "TransformerBlock"]


class FeedForward(nn.Module):
    """W_2 GELU(W_1 x).

    Args:
        dim: D.
        hidden: width between.
        generator: draws the weights.
    """

    def __init__(self, dim: int, hidden: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.up = normal_linear(dim, hidden, generator=generator)
        self.down = normal_linear(hidden, dim, generator=generator)

    def forward(self, x: Float[Tensor, "T D"]) -> Float[Tensor, "T D"]:
        """(T, D) of (T, D)."""
        out: Tensor = self.down(F.gelu(self.up(x)))
        return out


class TransformerBlock(nn.Module):
    """x + drop(attention(LN x)), then x + drop(feed-forward(LN x)).

    Source: "On Layer Normalization in the Transformer Architecture" (arXiv 2002.04745), figure 1 (b).

    Args:
        dim: D.
        heads: of the attention.
        hidden: width of the feed-forward.
        dropout: on the output of both branches.
        generator: draws the weights.
    """

    def __init__(
        self, dim: int, heads: int, hidden: int, *, dropout: Dropout, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = CausalAttention(dim, heads, generator=generator)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim, hidden, generator=generator)
        self.dropout = dropout

    def forward(self, x: Float[Tensor, "T D"], offsets: Int[Tensor, " B_plus_1"]) -> Float[Tensor, "T D"]:
        """(T, D) of the packed rows (T, D)."""
        x = x + self.dropout(self.attention(self.attention_norm(x), offsets))
        out: Tensor = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return out
