"""One event more for one history: what an encoder gives in its last row, from what its blocks remember.

Shape legend
    L  events of the history   D  width
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from fuserec.errors import ConfigError
from fuserec.nn.block_state import BlockState
from fuserec.nn.dense_block_state import DenseBlockState
from fuserec.nn.encoder import Encoder
from fuserec.nn.ligr import LigrBlock
from fuserec.nn.sparse_alignment import SparseAlignmentBlock
from fuserec.nn.transformer import TransformerBlock
from fuserec.shapes import Float

__all__ = ["EncoderState"]


class EncoderState:
    """A history as an encoder remembers it, behind the encoder's start.

    Args:
        encoder: in evaluation mode; its weights are read as they are with each event.
        x: (L, D) vectors of the events so far, none allowed.

    Raises:
        ConfigError: the encoder is in training mode, or its blocks cannot be continued by one event.
    """

    @torch.no_grad()
    def __init__(self, encoder: Encoder, x: Float[Tensor, "L D"]) -> None:
        if encoder.training:
            raise ConfigError(
                "expected an encoder in evaluation mode, got one in training mode, which drops; call eval()"
            )
        x = torch.cat([encoder.start[None], x])
        offsets = torch.tensor([0, len(x)], device=x.device)
        self._encoder = encoder
        self._blocks = []
        for block in encoder.blocks:
            self._blocks.append(_state_of(block, x))
            x = block(x, offsets)
        self._vector: Tensor = encoder.norm(x[-1])

    def __len__(self) -> int:
        """Events so far, the start not among them."""
        return len(self._blocks[0]) - 1

    @property
    def nbytes(self) -> int:
        """Bytes that the caches of all blocks hold."""
        return sum(block.nbytes for block in self._blocks)

    @property
    def vector(self) -> Float[Tensor, " D"]:
        """(D,) the user vector after the last event, or after the start."""
        return self._vector

    @torch.no_grad()
    def append(self, x: Float[Tensor, " D"]) -> None:
        """Add an event."""
        for block in self._blocks:
            x = block.append(x)
        self._vector = self._encoder.norm(x)

    def clone(self) -> EncoderState:
        """A state of the same events that goes its own way."""
        clone = copy.copy(self)
        clone._blocks = [block.clone() for block in self._blocks]
        return clone


def _state_of(block: nn.Module, x: Float[Tensor, "L D"]) -> BlockState | DenseBlockState:
    if isinstance(block, SparseAlignmentBlock):
        return BlockState(block, x)
    if isinstance(block, TransformerBlock | LigrBlock):
        return DenseBlockState(block, x)
    raise ConfigError(
        "expected an encoder of 'sparse', 'transformer' or 'ligr' blocks, which go on by one event, got one of "
        f"{type(block).__name__}; score its histories whole"
    )
