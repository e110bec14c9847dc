"""Attention to a long history at three granularities, with projections, positions and gates around it.

Shape legend
    T  packed events   B  histories   D  width   H  heads   C  blocks of all histories   N  branches
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from fuserec.errors import ConfigError
from fuserec.nn.block_bias import BlockBias
from fuserec.nn.linear import normal_linear
from fuserec.ops.attention import multi_granularity, windowed
from fuserec.ops.attention.pattern import Pattern
from fuserec.ops.blocks import Blocks, block_means, block_softmax
from fuserec.ops.bordered import bordered_blockwise, bordered_selective
from fuserec.ops.rotary import positions, rotate
from fuserec.shapes import Float, Int

__all__ = ["ALL_BRANCHES", "Projected", "SparseAttention"]

ALL_BRANCHES = ("window", "block", "selected")
"""In the order of their gates."""

OPEN_AT_FIRST = {"window": 1.0, "block": -1.0, "selected": -1.0}
"""What a gate's sigmoid is of before anything is learnt: .73 for the window, .27 for the others."""


class Projected(NamedTuple):
    """What attention reads of events, (T, H, D / H) each, and gates (T, H, N)."""

    query: Tensor
    key: Tensor
    turned_query: Tensor
    turned_key: Tensor
    value: Tensor
    gates: Tensor


class SparseAttention(nn.Module):
    """Windowed, block-level and selective attention, each times a gate, summed and projected.

    Source: MUFASA (arXiv 2508.09664); the rules are those of docs/papers/mufasa.md. Queries and keys of the windowed and the
    selective branch are turned by their position. Blocks are scored by queries and pooled keys that are not turned, plus
    a bias by distance: the mean of turned keys would cancel them.

    Args:
        dim: D.
        heads: H; D / H must be even.
        window: events that the windowed branch sees, the query's own included.
        block: most events of a block.
        selected: earlier blocks that a group of events chooses.
        group: neighbouring events that share a choice; divides ``block``.
        generator: draws the weights.
        branches: which of the three there are.
        gated: each branch times a learnt sigmoid; without, times one over the number of branches.
        learnt_pooling: a block's summary is the sum of its keys and of its values by a learnt softmax, a score for each event
            and head; without, their mean.

    Raises:
        ConfigError: a number is out of its range, or nothing would learn the pooling.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        window: int,
        block: int,
        selected: int,
        group: int,
        generator: torch.Generator,
        branches: tuple[str, ...] = ALL_BRANCHES,
        gated: bool = True,
        learnt_pooling: bool = False,
    ) -> None:
        super().__init__()
        if heads < 1 or dim % (2 * heads):
            raise ConfigError(
                f"expected dim to be a multiple of twice the heads, got dim {dim}, heads {heads}"
            )
        if not branches or tuple(name for name in ALL_BRANCHES if name in branches) != tuple(branches):
            raise ConfigError(
                f"expected some of the branches {', '.join(ALL_BRANCHES)}, each once and in this order, got {branches!r}"
            )
        if learnt_pooling and "block" not in branches:
            raise ConfigError(
                "learnt pooling learns by the block branch, which is out; leave learnt pooling out too"
            )
        self.dim, self.heads, self.branches = dim, heads, branches
        self.pattern = Pattern(window=window, block=block, selected=selected, group=group)
        self.qkv = normal_linear(dim, 3 * dim, generator=generator)
        self.gate = normal_linear(dim, heads * len(branches), generator=generator) if gated else None
        if self.gate is not None:
            with torch.no_grad():
                self.gate.bias.copy_(torch.tensor([OPEN_AT_FIRST[name] for name in branches]).repeat(heads))
        # at first 0, which is the mean
        self.pooling = nn.Parameter(torch.zeros(dim, heads)) if learnt_pooling else None
        # the choice has no gradient, so only the block branch learns a bias
        self.block_bias = BlockBias(heads) if "block" in branches else None
        self.out = normal_linear(dim, dim, generator=generator)

    def forward(
        self, x: Float[Tensor, "T D"], offsets: Int[Tensor, " B_plus_1"], blocks: Blocks | None = None
    ) -> Float[Tensor, "T D"]:
        """(T, D) of the packed rows (T, D).

        Args:
            x: (T, D).
            offsets: (B + 1,) where each history begins, and T.
            blocks: of the events; None for a border every ``block`` events. Borders that are not fixed cost padding: every
                block takes the room of a full one.

        Raises:
            ConfigError: the blocks are of another size.
        """
        if blocks is None:
            blocks = Blocks.every(offsets, block=self.pattern.block)
        if blocks.size != self.pattern.block:
            raise ConfigError(f"expected blocks of at most {self.pattern.block} events, got of {blocks.size}")
        projected = self.projected(x, positions(offsets))
        block_key, block_value = self.summaries(x, projected, blocks)
        bias = self.bias(blocks.longest)
        if blocks.fixed and self.branches == ALL_BRANCHES:
            attended = self._together(projected, offsets, block_key, block_value, bias)
        else:
            attended = self._one_by_one(projected, offsets, blocks, block_key, block_value, bias)
        mixed: Tensor = self.out(attended.reshape(x.shape))
        return mixed

    def projected(self, x: Float[Tensor, "T D"], places: Int[Tensor, " T"]) -> Projected:
        """Queries, keys, values and gates of events at these positions of their histories."""
        T, H = len(x), self.heads
        qkv = self.qkv(x).unflatten(1, (3 * H, self.dim // H))
        both, value = qkv.split((2 * H, H), dim=1)
        query, key = both.chunk(2, dim=1)
        # queries and keys turn by the same angles, so they turn in one call
        turned_query, turned_key = rotate(both, places).chunk(2, dim=1)
        if self.gate is None:
            gates = x.new_full((), 1 / len(self.branches)).expand(T, H, len(self.branches))
        else:
            gates = self.gate(x).sigmoid().view(T, H, len(self.branches))
        return Projected(query, key, turned_query, turned_key, value, gates)

    def summaries(
        self, x: Float[Tensor, "T D"], projected: Projected, blocks: Blocks
    ) -> tuple[Float[Tensor, "C H D2"], Float[Tensor, "C H D2"] | None]:
        """Key and value of each block; None for the means of values, which the operator takes by itself."""
        if self.pooling is None:
            return block_means(projected.key, blocks), None
        weights = block_softmax(x @ self.pooling, blocks)
        return block_means(projected.key, blocks, weights), block_means(projected.value, blocks, weights)

    def bias(self, blocks: int) -> Float[Tensor, "H M"] | None:
        """What is added to the scores of blocks in a history of that many; None where nothing is learnt."""
        return None if self.block_bias is None else self.block_bias(max(blocks - 1, 1))

    def _together(
        self,
        projected: Projected,
        offsets: Tensor,
        block_key: Tensor,
        block_value: Tensor | None,
        bias: Tensor | None,
    ) -> Float[Tensor, "T H D2"]:
        pattern = self.pattern
        return multi_granularity(
            projected.turned_query,
            projected.turned_key,
            projected.value,
            projected.gates,
            window=pattern.window,
            block=pattern.block,
            selected=pattern.selected,
            group=pattern.group,
            offsets=offsets,
            block_query=projected.query,
            block_key=block_key,
            block_value=block_value,
            block_bias=bias,
        )

    def _one_by_one(
        self,
        projected: Projected,
        offsets: Tensor,
        blocks: Blocks,
        block_key: Tensor,
        block_value: Tensor | None,
        bias: Tensor | None,
    ) -> Float[Tensor, "T H D2"]:
        q, k, v = projected.turned_query, projected.turned_key, projected.value
        outputs = []
        if "window" in self.branches:
            outputs.append(windowed(q, k, v, window=self.pattern.window, offsets=offsets))
        if "block" in self.branches:
            if block_value is None:
                block_value = block_means(v, blocks)
            outputs.append(
                bordered_blockwise(
                    projected.query, blocks, block_key=block_key, block_value=block_value, block_bias=bias
                )
            )
        if "selected" in self.branches:
            outputs.append(
                bordered_selective(
                    q,
                    k,
                    v,
                    blocks,
                    selected=self.pattern.selected,
                    group=self.pattern.group,
                    block_query=projected.query,
                    block_key=block_key,
                    block_bias=bias,
                )
            )
        return (torch.stack(outputs, -1) * projected.gates[:, :, None]).sum(-1)
