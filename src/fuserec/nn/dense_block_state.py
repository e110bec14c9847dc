"""One event more for one history: what a block with dense attention gives in its last row.

Shape legend
    L  events of the history   D  width
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from fuserec.nn.causal_state import CausalAttentionState
from fuserec.nn.ligr import LigrBlock
from fuserec.nn.residual_gate import added
from fuserec.nn.transformer import TransformerBlock
from fuserec.shapes import Float

__all__ = ["DenseBlockState"]


class DenseBlockState:
    """A history as one block remembers it; nothing is dropped, nothing has a gradient.

    An event reads the keys and values of all L before it. `BlockState` is the same of the block that reads fewer.

    Args:
        block: whose weights are read, as they are with each event.
        x: (L, D) the block's input for the events so far.
    """

    @torch.no_grad()
    def __init__(self, block: TransformerBlock | LigrBlock, x: Float[Tensor, "L D"]) -> None:
        self._block = block
        self._attention = CausalAttentionState(block.attention, block.attention_norm(x))

    def __len__(self) -> int:
        """Events so far."""
        return len(self._attention)

    @property
    def nbytes(self) -> int:
        """Bytes that the caches hold."""
        return self._attention.nbytes

    @torch.no_grad()
    def append(self, x: Float[Tensor, " D"]) -> Float[Tensor, " D"]:
        """Add an event, and give the block's output for it."""
        block = self._block
        attended = self._attention.append(block.attention_norm(x))
        gates = (
            (block.attention_gate, block.feed_forward_gate) if isinstance(block, LigrBlock) else (None, None)
        )
        x = added(x, attended, gate=gates[0])
        fed: Tensor = block.feed_forward(block.feed_forward_norm(x)[None])[0]
        return added(x, fed, gate=gates[1])

    def clone(self) -> DenseBlockState:
        """A state of the same events that goes its own way."""
        clone = copy.copy(self)
        clone._attention = self._attention.clone()
        return clone
