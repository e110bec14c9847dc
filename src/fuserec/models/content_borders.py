"""Blocks of a history that end where the content of its items turns.

Shape legend
    I  items   F  width of the content   T  rows of all histories, the start of each included   B  histories
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from fuserec.ops.blocks import Blocks
from fuserec.ops.borders import content_borders
from fuserec.shapes import Float, Int

__all__ = ["ContentBorders"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentBorders:
    """A block begins at an event unlike the one before it, and where the block is full.

    Training and serving ask the same object, so both see the same borders.

    Attributes:
        content: (I, F) what is compared.
        below: a smaller cosine of two consecutive events is a border.
        block: most rows of a block; the start before a history is one of the first block's.
    """

    content: Float[Tensor, "I F"]
    below: float
    block: int

    def blocks(self, rows: Int[Tensor, " T"], offsets: Int[Tensor, " B_plus_1"]) -> Blocks:
        """The blocks of packed histories.

        Args:
            rows: (T,) the items of the events; the first of each history stands for its start, and what it names does not
                matter.
            offsets: (B + 1,) where each history begins, and T.
        """
        begins = content_borders(
            self.content[rows], offsets, threshold=self.below, block=self.block, started=True
        )
        return Blocks.at(begins, offsets, block=self.block)
