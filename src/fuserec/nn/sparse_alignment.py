"""The block of MUFASA's sparse attention-guided alignment layer.

Shape legend
    T  packed rows   B  histories   D  width
"""

from __future__ import annotations

from torch import Tensor, nn

from fuserec.nn.block_evolution import BlockEvolution
from fuserec.nn.dropout import Dropout
from fuserec.nn.residual_gate import added
from fuserec.nn.sparse_attention import SparseAttention
from fuserec.ops.blocks import Blocks
from fuserec.shapes import Float, Int

__all__ = ["SparseAlignmentBlock"]


class SparseAlignmentBlock(nn.Module):
    """x + drop(attention(LN x) + evolution(LN x)), then x + drop(feed-forward(LN x)).

    Source: MUFASA (arXiv 2508.09664); the gates on both sums, a switch, are those of LiGR (arXiv 2502.03417).

    Args:
        attention: at three granularities.
        feed_forward: of rows.
        dropout: on the output of both parts.
        evolution: of blocks; None for none.
        gates: D to D each, of what the attention and what the feed-forward add, see `fuserec.nn.residual_gate`; None for none.
    """

    def __init__(
        self,
        attention: SparseAttention,
        feed_forward: nn.Module,
        *,
        dropout: Dropout,
        evolution: BlockEvolution | None = None,
        gates: tuple[nn.Linear, nn.Linear] | None = None,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(attention.dim)
        self.attention = attention
        self.evolution = evolution
        self.feed_forward_norm = nn.LayerNorm(attention.dim)
        self.feed_forward = feed_forward
        self.dropout = dropout
        self.attention_gate: nn.Linear | None = None if gates is None else gates[0]
        self.feed_forward_gate: nn.Linear | None = None if gates is None else gates[1]

    def forward(
        self, x: Float[Tensor, "T D"], offsets: Int[Tensor, " B_plus_1"], blocks: Blocks | None = None
    ) -> Float[Tensor, "T D"]:
        """(T, D) of the packed rows (T, D).

        Args:
            x: (T, D).
            offsets: (B + 1,) where each history begins, and T.
            blocks: of the events, with the attention's number of events at most; None for a border every so many events.
        """
        if blocks is None:
            blocks = Blocks.every(offsets, block=self.attention.pattern.block)
        normed = self.attention_norm(x)
        heard = self.attention(normed, offsets, blocks)
        if self.evolution is not None:
            heard = heard + self.evolution(normed, blocks)
        x = added(x, self.dropout(heard), gate=self.attention_gate)
        fed = self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return added(x, fed, gate=self.feed_forward_gate)
