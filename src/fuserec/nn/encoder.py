"""From the items of packed histories to a user vector at every event.

Shape legend
    T  packed rows   B  histories   D  width
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fuserec.errors import ConfigError, nearest
from fuserec.nn.block_evolution import BlockEvolution
from fuserec.nn.dropout import Dropout
from fuserec.nn.gated_feed_forward import GatedFeedForward
from fuserec.nn.hstu import HstuBlock
from fuserec.nn.ligr import LigrBlock
from fuserec.nn.linear import normal_linear
from fuserec.nn.sparse_alignment import SparseAlignmentBlock
from fuserec.nn.sparse_attention import SparseAttention
from fuserec.nn.transformer import FeedForward, TransformerBlock
from fuserec.ops.blocks import Blocks
from fuserec.shapes import Float, Int

__all__ = ["BLOCKS", "Encoder"]


def _sparse_block(
    dim: int,
    *,
    heads: int,
    evolution: bool,
    gated_feed_forward: bool,
    gated_residual: bool = False,
    branches: Sequence[str],
    dropout: Dropout,
    generator: torch.Generator,
    **attention: Any,
) -> SparseAlignmentBlock:
    # two thirds of the hidden width where there are three maps, so both kinds have as many weights
    feed_forward = (
        GatedFeedForward(dim, 8 * dim // 3, generator=generator)
        if gated_feed_forward
        else FeedForward(dim, 4 * dim, generator=generator)
    )
    return SparseAlignmentBlock(
        SparseAttention(dim, heads, branches=tuple(branches), generator=generator, **attention),
        feed_forward,
        dropout=dropout,
        evolution=BlockEvolution(dim, heads, generator=generator) if evolution else None,
        gates=(normal_linear(dim, dim, generator=generator), normal_linear(dim, dim, generator=generator))
        if gated_residual
        else None,
    )


BLOCKS: dict[str, Callable[..., nn.Module]] = {
    "hstu": HstuBlock,
    "ligr": LigrBlock,
    "sparse": _sparse_block,
    "transformer": TransformerBlock,
}
"""Blocks by name: called with the width, their own options, ``dropout`` and ``generator``."""


class Encoder(nn.Module):
    """A start vector, dropout of the input, blocks one after another, and a last normalisation.

    Args:
        block: name of the blocks, see `BLOCKS`.
        dim: D.
        num_layers: number of blocks, at least 1.
        options: of each block.
        dropout: share of values dropped from the input and from the outputs of the blocks' branches.
        generator: draws the weights.

    Raises:
        ConfigError: there is no such block, or an option has no sense.
    """

    def __init__(
        self,
        block: str,
        *,
        dim: int,
        num_layers: int,
        options: Mapping[str, Any],
        dropout: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        if block not in BLOCKS:
            raise ConfigError(f"expected the name of a block, got {block!r}; {nearest(block, BLOCKS)}")
        if num_layers < 1:
            raise ConfigError(f"num_layers must be at least 1, got {num_layers}")
        self.description = {
            "block": block,
            "dim": dim,
            "num_layers": num_layers,
            "options": dict(options),
            "dropout": dropout,
        }
        """All that makes another encoder of the same shape: the arguments but the generator."""
        self.dropout = Dropout(dropout, generator=generator)
        self.start = nn.Parameter(torch.empty(dim).normal_(std=0.02, generator=generator))
        self.blocks = nn.ModuleList(
            BLOCKS[block](dim, **options, dropout=Dropout(dropout, generator=generator), generator=generator)
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, x: Float[Tensor, "T D"], offsets: Int[Tensor, " B_plus_1"], blocks: Blocks | None = None
    ) -> Float[Tensor, "T D"]:
        """The user vector after each row.

        Args:
            x: (T, D) vectors of events, packed; the first row of each history is `start`.
            offsets: (B + 1,) where each history begins, and T.
            blocks: of the rows, where they are not every so many; "sparse" alone reads them.
        """
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, offsets) if blocks is None else block(x, offsets, blocks)
        out: Tensor = self.norm(x)
        return out
