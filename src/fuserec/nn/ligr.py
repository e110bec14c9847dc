"""The block of LiGR, as eSASRec takes it: a transformer's block whose branches pass learnt gates.

"From Features to Transformers: Redefining Ranking for Scalable Impact", F. Borisyuk et al. arXiv 2502.03417 (LiGR);
"eSASRec: Enhancing Transformer-based Recommendations in a Modular Fashion", D. Tikhonovich et al. RecSys 2025.
Departures: docs/papers/esasrec.md.

Shape legend
    T  packed rows   B  histories   D  width
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fuserec.nn.causal_attention import CausalAttention
from fuserec.nn.dropout import Dropout
from fuserec.nn.gated_feed_forward import GatedFeedForward
from fuserec.nn.linear import normal_linear
from fuserec.nn.residual_gate import added
from fuserec.shapes import Float, Int

__all__ = ["LigrBlock"]


class LigrBlock(nn.Module):
    """x + sigmoid(W x + b) * drop(f(LN x)), with f the attention first and a gated feed-forward after it.

    The gate reads the stream as it comes into its branch, before the normalisation. With W = 0 and b large it is the
    pre-norm block of a transformer; a row whose gate is shut keeps what it was.

    Args:
        dim: D.
        heads: of the attention.
        hidden: width of the feed-forward.
        dropout: on the output of both branches, before the gate.
        generator: draws the weights.
    """

    def __init__(
        self, dim: int, heads: int, hidden: int, *, dropout: Dropout, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = CausalAttention(dim, heads, generator=generator)
        self.attention_gate = normal_linear(dim, dim, generator=generator)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = GatedFeedForward(dim, hidden, generator=generator)
        self.feed_forward_gate = normal_linear(dim, dim, generator=generator)
        self.dropout = dropout

    def forward(self, x: Float[Tensor, "T D"], offsets: Int[Tensor, " B_plus_1"]) -> Float[Tensor, "T D"]:
        """(T, D) of the packed rows (T, D)."""
        attended = self.dropout(self.attention(self.attention_norm(x), offsets))
        x = added(x, attended, gate=self.attention_gate)
        fed = self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return added(x, fed, gate=self.feed_forward_gate)
