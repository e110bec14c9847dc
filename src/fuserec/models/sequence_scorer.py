"""The scorer of every model that reads a history in its order.

Shape legend
    I  items   D  width   B  queries   J  items of the block   T  rows of all histories, the start of each included
    L  events of one history
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from fuserec.batch import Histories, Queries
from fuserec.errors import ConfigError, DataError
from fuserec.models.content_borders import ContentBorders
from fuserec.models.sequence_state import SequenceState
from fuserec.nn.encoder import Encoder
from fuserec.nn.encoder_state import EncoderState
from fuserec.shapes import Float, Int

__all__ = ["SequenceScorer", "with_start"]

EVENTS_AT_A_TIME = 2**16
"""About so many are read together, whole histories of them: memory grows with the longest, not with their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceScorer:
    """score = <user vector after the last event, item>; a trained user and a new one are served alike, by history.

    An empty history is the start alone, and is served as that. Events of items that have no vector are passed over.

    Attributes:
        item: (I, D) vectors, scored as candidates.
        encoder: in evaluation mode, without gradients.
        borders: of blocks, where they are not every so many events.
        event: (I, D) vectors that events are read as, where they are not those of the candidates.
    """

    kind: ClassVar[str] = "sequence"

    item: Float[Tensor, "I D"]
    encoder: Encoder
    borders: ContentBorders | None = None
    event: Float[Tensor, "I D"] | None = None
    _last: list[tuple[Queries, Tensor]] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def num_items(self) -> int:
        """I."""
        return len(self.item)

    @property
    def read(self) -> Float[Tensor, "I D"]:
        """(I, D) what events are read as."""
        return self.item if self.event is None else self.event

    def heard(self, histories: Histories) -> Histories:
        """The same histories without the events of items whose vector is zero, of which nothing was learnt."""
        has_vector_T = self.item.any(1)[histories.items]
        offsets = F.pad(has_vector_T.cumsum(0), (1, 0))[histories.offsets]
        return Histories(items=histories.items[has_vector_T], offsets=offsets)

    @torch.no_grad()
    def user_vectors(self, queries: Queries) -> Float[Tensor, "B D"]:
        """(B, D): what the encoder gives after the last event of each history."""
        # blocks of items are asked for one after another; the histories are read once
        for asked, vectors_BD in self._last:
            if asked is queries:
                return vectors_BD
        rows, offsets = with_start(self.heard(queries.histories), start=0)
        portions = ((offsets[1:] - 1) // EVENTS_AT_A_TIME).unique_consecutive(return_counts=True)[1]
        parts, first = [self.item[:0]], 0
        for count in portions.tolist():
            part = offsets[first : first + count + 1]
            parts.append(self._encoded(rows[part[0] : part[-1]], part - part[0]))
            first += count
        vectors_BD = torch.cat(parts)
        self._last[:] = [(queries, vectors_BD)]
        return vectors_BD

    def _encoded(self, rows: Int[Tensor, " T"], offsets: Int[Tensor, " B_plus_1"]) -> Float[Tensor, "B D"]:
        x_TD = F.embedding(rows, self.read)
        x_TD[offsets[:-1]] = self.encoder.start
        blocks = None if self.borders is None else self.borders.blocks(rows, offsets)
        last_BD: Tensor = self.encoder(x_TD, offsets, blocks)[offsets[1:] - 1]
        return last_BD

    def scores(self, queries: Queries, items: slice) -> Float[Tensor, "B J"]:
        """(B, J) inner products."""
        return self.user_vectors(queries) @ self.item[items].T

    def begin(self, history: Int[Tensor, " L"]) -> SequenceState:
        """One user, to be followed event by event.

        After every event the state gives what `user_vectors` and `scores` give for the whole history.

        Args:
            history: (L,) rows of the items so far, oldest first, none allowed.

        Raises:
            ConfigError: the encoder's blocks cannot be continued by one event, or begin where the content says.
            DataError: there is no such row.
        """
        wrong = history[(history < 0) | (history >= self.num_items)]
        if len(wrong):
            raise DataError(f"expected rows of items, 0 to {self.num_items - 1}, got {wrong[0].item()}")
        if self.borders is not None:
            raise ConfigError(
                "expected blocks of so many events, got borders by content, which have no step form; score histories whole"
            )
        alone = torch.tensor([0, len(history)], device=history.device)
        heard = self.heard(Histories(items=history, offsets=alone))
        encoded = EncoderState(self.encoder, self.read[heard.items])
        return SequenceState(encoded, item=self.item, event=self.read)

    def tensors(self) -> dict[str, Tensor]:
        """``item`` and, where there is one, ``event``, the encoder's weights as ``encoder.<name>``, and its description, JSON in UTF-8.

        With borders by content, ``border`` (I, F) is that content and ``border_below`` the cosine.
        """
        text = json.dumps(self.encoder.description, sort_keys=True).encode()
        weights = {f"encoder.{name}": tensor for name, tensor in self.encoder.state_dict().items()}
        more = {} if self.event is None else {"event": self.event}
        if self.borders is not None:
            below = torch.tensor(self.borders.below, dtype=torch.float64)
            more |= {"border": self.borders.content, "border_below": below}
        return {
            "item": self.item,
            "description": torch.frombuffer(bytearray(text), dtype=torch.uint8),
            **weights,
            **more,
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> SequenceScorer:
        """Take back what `tensors` gave.

        Raises:
            ValueError: the description says nothing, or names an encoder that cannot be.
            RuntimeError: the weights are not those of that encoder.
            DataError: a tensor has not a row an item, or not the encoder's width.
        """
        description = json.loads(bytes(tensors["description"].tolist()))
        weights = {
            name.removeprefix("encoder."): tensor
            for name, tensor in tensors.items()
            if name.startswith("encoder.")
        }
        options = description.pop("options")
        encoder = Encoder(
            description.pop("block"),
            dropout=description.pop("dropout"),
            options=options,
            generator=torch.Generator(),
            **description,
        )
        encoder.load_state_dict(weights)
        for name in ("item", "event", "border"):
            if name in tensors:
                width = tensors[name].shape[-1] if name == "border" else len(weights["start"])
                _require_rows(
                    name, tensors[name], of=(len(tensors["item"]), width), dtype=weights["start"].dtype
                )
        borders = None
        if "border" in tensors:
            borders = ContentBorders(
                content=tensors["border"], below=tensors["border_below"].item(), block=options["block"]
            )
        return cls(
            item=tensors["item"],
            encoder=encoder.eval().requires_grad_(requires_grad=False),
            borders=borders,
            event=tensors.get("event"),
        )


def _require_rows(name: str, found: Tensor, *, of: tuple[int, int], dtype: torch.dtype) -> None:
    if found.shape == of and found.dtype == dtype:
        return

    def told(shape: Sequence[int], kind: torch.dtype) -> str:
        return f"{' x '.join(map(str, shape))} numbers of {str(kind).removeprefix('torch.')}"

    raise DataError(f"expected {told(of, dtype)} as {name!r}, got {told(found.shape, found.dtype)}")


def with_start(histories: Histories, *, start: int) -> tuple[Int[Tensor, " T"], Int[Tensor, " B_plus_1"]]:
    """Rows of the items of each history behind a row ``start``, packed, and where each history begins.

    Example:
        >>> rows, offsets = with_start(Histories.from_lists([[4, 7], [], [5]]), start=9)
        >>> rows.tolist(), offsets.tolist()
        ([9, 4, 7, 9, 9, 5], [0, 3, 4, 6])
    """
    offsets = histories.offsets + torch.arange(len(histories.offsets), device=histories.offsets.device)
    rows = torch.full((int(offsets[-1]),), start, device=offsets.device)
    rows[torch.arange(len(histories.items), device=offsets.device) + histories.rows() + 1] = histories.items
    return rows, offsets
