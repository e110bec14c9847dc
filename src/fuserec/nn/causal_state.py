"""One event more for one history: what dense attention gives in its last row, from cached keys and values.

Shape legend
    L  events of the history   D  width   H  heads
"""

from __future__ import annotations

import copy
import sys

import torch
from torch import Tensor

from fuserec.nn.causal_attention import CausalAttention
from fuserec.ops.attention import History
from fuserec.ops.rotary import positions
from fuserec.shapes import Float

__all__ = ["CausalAttentionState"]


class CausalAttentionState:
    """A history as `CausalAttention` remembers it. Nothing has a gradient. An event reads all L rows before it.

    Args:
        attention: whose weights are read, as they are with each event.
        x: (L, D) its input for the events so far.

    Example:
        >>> draws = torch.Generator().manual_seed(0)
        >>> attention, x = CausalAttention(4, 2, generator=draws), torch.randn(7, 4, generator=draws)
        >>> state = CausalAttentionState(attention, x[:6])
        >>> torch.allclose(state.append(x[6]), attention(x, torch.tensor([0, 7]))[6], atol=1e-6)
        True
    """

    @torch.no_grad()
    def __init__(self, attention: CausalAttention, x: Float[Tensor, "L D"]) -> None:
        parts = attention.projected(x, positions(torch.tensor([0, len(x)], device=x.device)))
        self._attention = attention
        # a window without an end sees every event; the gates close the other branches
        self._history = History.of(
            *(part.transpose(0, 1) for part in parts), window=sys.maxsize, block=64, selected=0, group=64
        )
        self._gates = x.new_tensor([1.0, 0.0, 0.0]).expand(attention.heads, 3)

    def __len__(self) -> int:
        """Events so far."""
        return len(self._history)

    @property
    def nbytes(self) -> int:
        """Bytes that the caches hold."""
        return self._history.nbytes

    @torch.no_grad()
    def append(self, x: Float[Tensor, " D"]) -> Float[Tensor, " D"]:
        """Add an event, and give the attention's output for it."""
        q, k, v = self._attention.projected(x[None], torch.tensor([len(self)], device=x.device))
        attended = self._history.append(q[0], k[0], v[0], self._gates)
        mixed: Tensor = self._attention.out(attended.reshape(-1))
        return mixed

    def clone(self) -> CausalAttentionState:
        """A state of the same events that goes its own way."""
        clone = copy.copy(self)
        clone._history = self._history.clone()
        return clone
