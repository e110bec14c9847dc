"""One user who is served event by event.

Shape legend
    I  items   D  width   J  items of the block
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuserec.errors import DataError
from fuserec.nn.encoder_state import EncoderState
from fuserec.shapes import Float

__all__ = ["SequenceState"]


class SequenceState:
    """What a `SequenceScorer` says after each event of one history, without reading the history again.

    `SequenceScorer.begin` makes it. Events of items without a vector are passed over, as the scorer passes them over.

    Args:
        encoded: the encoder's memory of the events so far.
        item: (I, D) vectors, scored as candidates.
        event: (I, D) vectors that events are read as.
    """

    def __init__(
        self, encoded: EncoderState, *, item: Float[Tensor, "I D"], event: Float[Tensor, "I D"]
    ) -> None:
        self._encoded = encoded
        self._item = item
        self._event = event

    def __len__(self) -> int:
        """Events that were heard."""
        return len(self._encoded)

    @property
    def nbytes(self) -> int:
        """Bytes that the state holds beside the scorer's own."""
        return self._encoded.nbytes

    @property
    def vector(self) -> Float[Tensor, " D"]:
        """(D,) the user vector after the last event, or after the start where there is none."""
        return self._encoded.vector

    def append(self, item: int) -> None:
        """Add an event.

        Args:
            item: row of its item.

        Raises:
            DataError: there is no such row.
        """
        if not 0 <= item < len(self._item):
            raise DataError(f"expected the row of an item, 0 to {len(self._item) - 1}, got {item}")
        if self._item[item].any():
            self._encoded.append(self._event[item])

    @torch.no_grad()
    def scores(self, items: slice) -> Float[Tensor, " J"]:
        """(J,) scores of the items ``items.start .. items.stop - 1``."""
        return self._item[items] @ self.vector

    def clone(self) -> SequenceState:
        """A state of the same events that goes its own way, to try what an event would change."""
        return SequenceState(self._encoded.clone(), item=self._item, event=self._event)
