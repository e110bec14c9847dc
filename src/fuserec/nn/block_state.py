"""One event more for one history: what a block of the alignment layer gives in its last row, from caches.

Shape legend
    L  events of the history   C  blocks   D  width   H  heads
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from fuserec.nn.block_evolution import BlockEvolution
from fuserec.nn.causal_state import CausalAttentionState
from fuserec.nn.residual_gate import added
from fuserec.nn.sparse_alignment import SparseAlignmentBlock
from fuserec.nn.sparse_attention import ALL_BRANCHES, Projected, SparseAttention
from fuserec.ops.attention import History
from fuserec.ops.blocks import Blocks, block_means
from fuserec.ops.rotary import positions
from fuserec.shapes import Float

__all__ = ["BlockState"]


class BlockState:
    """A history as one block remembers it. Borders come every so many events; nothing is dropped, nothing has a gradient.

    An event costs O(window + L / block + selected * block) rows read, and memory grows by the event's own rows.

    Args:
        block: whose weights are read, as they are with each event.
        x: (L, D) the block's input for the events so far, none allowed.

    Example:
        >>> from fuserec.nn import Dropout, FeedForward
        >>> draws = torch.Generator().manual_seed(0)
        >>> attention = SparseAttention(4, 2, window=2, block=2, selected=1, group=1, generator=draws)
        >>> feed_forward = FeedForward(4, 8, generator=draws)
        >>> block = SparseAlignmentBlock(attention, feed_forward, dropout=Dropout(0.0, generator=draws))
        >>> x = torch.randn(7, 4, generator=draws)
        >>> state = BlockState(block, x[:6])
        >>> torch.allclose(state.append(x[6]), block(x, torch.tensor([0, 7]))[6], atol=1e-6)
        True
    """

    @torch.no_grad()
    def __init__(self, block: SparseAlignmentBlock, x: Float[Tensor, "L D"]) -> None:
        normed = block.attention_norm(x)
        self._block = block
        self._attention = _AttentionState(block.attention, normed)
        self._evolution = (
            None
            if block.evolution is None
            else _EvolutionState(block.evolution, normed, size=block.attention.pattern.block)
        )

    def __len__(self) -> int:
        """Events so far."""
        return len(self._attention)

    @property
    def nbytes(self) -> int:
        """Bytes that the caches hold."""
        return self._attention.nbytes + (0 if self._evolution is None else self._evolution.nbytes)

    @torch.no_grad()
    def append(self, x: Float[Tensor, " D"]) -> Float[Tensor, " D"]:
        """Add an event, and give the block's output for it."""
        normed = self._block.attention_norm(x)
        heard = self._attention.append(normed)
        if self._evolution is not None:
            heard = heard + self._evolution.append(normed)
        x = added(x, heard, gate=self._block.attention_gate)
        fed: Tensor = self._block.feed_forward(self._block.feed_forward_norm(x)[None])[0]
        return added(x, fed, gate=self._block.feed_forward_gate)

    def clone(self) -> BlockState:
        """A state of the same events that goes its own way."""
        clone = copy.copy(self)
        clone._attention = self._attention.clone()
        clone._evolution = None if self._evolution is None else self._evolution.clone()
        return clone


class _AttentionState:
    """A history as `SparseAttention` remembers it.

    Args:
        attention: whose weights are read.
        x: (L, D) its input for the events so far.
    """

    def __init__(self, attention: SparseAttention, x: Float[Tensor, "L D"]) -> None:
        pattern, whole = attention.pattern, torch.tensor([0, len(x)], device=x.device)
        blocks = Blocks.every(whole, block=pattern.block)
        projected = attention.projected(x, positions(whole))
        block_key, block_value = attention.summaries(x, projected, blocks)
        self._attention = attention
        self._history = History.of(
            *(_heads_first(part) for part in (projected.turned_query, projected.turned_key, projected.value)),
            window=pattern.window,
            block=pattern.block,
            selected=pattern.selected,
            group=pattern.group,
            block_query=_heads_first(projected.query),
            block_key=_heads_first(block_key),
            block_value=None if block_value is None else _heads_first(block_value),
            block_bias=attention.bias(len(blocks)),
        )
        self._open = x[len(x) // pattern.block * pattern.block :]

    def __len__(self) -> int:
        """Events so far."""
        return len(self._history)

    @property
    def nbytes(self) -> int:
        """Bytes that the caches hold."""
        return self._history.nbytes + self._open.nbytes

    def append(self, x: Float[Tensor, " D"]) -> Float[Tensor, " D"]:
        """Add an event, and give the attention's output for it."""
        attention, at, size = self._attention, len(self), self._attention.pattern.block
        event = attention.projected(x[None], torch.tensor([at], device=x.device))
        self._open = torch.cat((self._open, x[None]))
        block_key, block_value = None, None
        if len(self._open) == size:
            block_key, block_value = self._summary()
            self._open = self._open[:0]
        attended = self._history.append(
            event.turned_query[0],
            event.turned_key[0],
            event.value[0],
            _of_all_branches(attention, event),
            block_query=event.query[0],
            block_key=block_key,
            block_value=block_value,
            block_bias=attention.bias(at // size + 1),
        )
        mixed: Tensor = attention.out(attended.reshape(-1))
        return mixed

    def clone(self) -> _AttentionState:
        """A state of the same events that goes its own way."""
        clone = copy.copy(self)
        clone._history = self._history.clone()
        return clone

    def _summary(self) -> tuple[Float[Tensor, "H D2"], Float[Tensor, "H D2"] | None]:
        """Of the block that is complete now."""
        whole = torch.tensor([0, len(self._open)], device=self._open.device)
        blocks = Blocks.every(whole, block=len(self._open))
        # neither is turned, so the positions do not matter
        projected = self._attention.projected(self._open, positions(whole))
        key, value = self._attention.summaries(self._open, projected, blocks)
        return key[0], None if value is None else value[0]


class _EvolutionState:
    """A history as `BlockEvolution` remembers it.

    Args:
        evolution: whose weights are read.
        x: (L, D) its input for the events so far.
        size: events of a block.
    """

    def __init__(self, evolution: BlockEvolution, x: Float[Tensor, "L D"], *, size: int) -> None:
        ended = len(x) // size * size
        whole = torch.tensor([0, ended], device=x.device)
        blocks = Blocks.every(whole, block=size)
        means_CD = block_means(x[:ended], blocks)
        states_CD = evolution.attention(means_CD, blocks.offsets)
        self._evolution = evolution
        self._size = size
        self._sum = x[ended:].sum(0)
        self._events = len(x)
        # blocks are the events of this one
        self._blocks = CausalAttentionState(evolution.attention, means_CD)
        self._state = states_CD[-1] if len(states_CD) else torch.zeros_like(self._sum)

    @property
    def nbytes(self) -> int:
        """Bytes that the caches hold."""
        return self._blocks.nbytes + self._sum.nbytes + self._state.nbytes

    def append(self, x: Float[Tensor, " D"]) -> Float[Tensor, " D"]:
        """Add an event, and give what it hears of the block before its own."""
        heard: Tensor = self._state * self._evolution.gate(x).sigmoid()
        self._sum = self._sum + x
        self._events += 1
        if self._events % self._size == 0:
            self._state = self._blocks.append(self._sum / self._size)
            self._sum = torch.zeros_like(self._sum)
        return heard

    def clone(self) -> _EvolutionState:
        """A state of the same events that goes its own way."""
        clone = copy.copy(self)
        clone._blocks = self._blocks.clone()
        return clone


def _of_all_branches(attention: SparseAttention, event: Projected) -> Float[Tensor, "H 3"]:
    """The gates of one event, 0 for branches that are out."""
    gates_H3 = event.gates.new_zeros(attention.heads, len(ALL_BRANCHES))
    gates_H3[:, [ALL_BRANCHES.index(name) for name in attention.branches]] = event.gates[0]
    return gates_H3


def _heads_first(x: Float[Tensor, "L H D2"]) -> Float[Tensor, "H L D2"]:
    return x.transpose(0, 1)
