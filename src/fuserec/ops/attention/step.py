"""One event at a time: what a full pass gives in its last row, from caches.

An event reads O(window + L / block + (selected + 1) * block) cached rows, where a full pass computes all of them again.

Shape legend
    H  heads   L  events of the history   S  rows read   C  blocks   X  choices   M  distances in blocks   D  width
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fuserec.errors import ConfigError
from fuserec.ops.attention.pattern import Pattern, check_whole
from fuserec.ops.attention.summaries import block_means
from fuserec.ops.attention.visibility import num_blocks
from fuserec.shapes import Float, Int

__all__ = ["History"]

Given = Float[Tensor, "..."]
"""A tensor from outside: its shape is held against the history's by `History`, which says what it expected."""


class History:
    """The cached keys, values and block summaries of one history, and what its current group chose.

    Nothing has a gradient. An event that is refused leaves the history as it was.

    Args:
        num_heads: H.
        dim: D, the width of a head.
        window: events that the windowed branch sees, the query's own included.
        block: events in a block, counted from the start of the history.
        selected: earlier blocks that a group chooses.
        group: neighbouring queries that share the choice of their first; divides ``block``.
        dtype: float32 or float64.
        capacity: events to make room for; when it is used up, twice as much is made.
        device: where the caches are.

    Raises:
        ConfigError: a number is out of its range, or the dtype is another.

    Example:
        >>> history = History(1, 2, window=2, block=2, selected=1, group=1)
        >>> x, gates = torch.ones(1, 2), torch.full((1, 3), 0.5)
        >>> [history.append(x, x, x, gates)[0, 0].item() for _ in range(4)]
        [1.0, 1.0, 1.5, 1.5]
        >>> len(history)
        4
    """

    def __init__(
        self,
        num_heads: int,
        dim: int,
        *,
        window: int,
        block: int,
        selected: int,
        group: int,
        dtype: torch.dtype = torch.float32,
        capacity: int = 256,
        device: torch.device | str = "cpu",
    ) -> None:
        for name, value in (("num_heads", num_heads), ("dim", dim), ("capacity", capacity)):
            check_whole(name, value, least=1)
        if dtype not in (torch.float32, torch.float64):
            raise ConfigError(f"expected float32 or float64, got {dtype}")
        self._pattern = Pattern(window=window, block=block, selected=selected, group=group)
        self._length = 0
        self._summarised = (False, False)  # whether the caller gave the blocks' keys and values
        self._chosen_S = torch.arange(0, device=device)  # events of the blocks that the current group chose
        none = torch.empty(num_heads, 0, dim, dtype=dtype, device=device)
        self._keys, self._values, self._block_keys, self._block_values = (none,) * 4
        self._make_room(num_blocks(capacity, block))

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        q: Given,
        k: Given,
        v: Given,
        *,
        window: int,
        block: int,
        selected: int,
        group: int,
        block_query: Given | None = None,
        block_key: Given | None = None,
        block_value: Given | None = None,
        block_bias: Given | None = None,
        capacity: int = 1,
    ) -> History:
        """The history of all those events, to be continued by `append`.

        Args:
            q: (H, L, D) queries.
            k: (H, L, D) keys.
            v: (H, L, D) values.
            window: as in `History`, like the next three.
            block: see there.
            selected: see there.
            group: see there.
            block_query: (H, L, D) what the choice is made of; None for ``q``.
            block_key: (H, C, D) a summary of each of the ceil(L / block) blocks; None for the means of the keys.
            block_value: as ``block_key``; None for the means of the values.
            block_bias: (H, M) added to the scores of blocks; M at least C - 1, and 1.
            capacity: events to make room for, L at least.

        Raises:
            ConfigError: shapes, dtypes or devices do not fit together, or a number is out of its range.
        """
        if k.dim() != 3:
            raise ConfigError(f"expected k of shape (H, L, D), got {tuple(k.shape)}")
        H, L, D = k.shape
        history = cls(
            H,
            D,
            window=window,
            block=block,
            selected=selected,
            group=group,
            dtype=k.dtype,
            capacity=max(L, capacity),
            device=k.device,
        )
        begun, ended = num_blocks(L, block), L // block
        for name, tensor, events in (
            ("q", q, L),
            ("v", v, L),
            ("block_query", block_query, L),
            ("block_key", block_key, begun),
            ("block_value", block_value, begun),
        ):
            if tensor is not None:
                history._check(name, tensor, (H, events, D))
        history._check_bias(block_bias, begun - 1)

        history._keys[:, :L] = k
        history._values[:, :L] = v
        for room, x, summary in (
            (history._block_keys, k, block_key),
            (history._block_values, v, block_value),
        ):
            means = block_means(x[None, :, : ended * block], block)[0] if summary is None else summary
            room[:, :ended] = means[:, :ended]
        if ended:
            history._summarised = (block_key is not None, block_value is not None)
        history._length = L
        first = L // group * group
        if first < L:  # the next event is in the group that this query chose for
            query = (q if block_query is None else block_query)[:, first]
            history._chosen_S = history._choose(query, first // block, block_bias)
        return history

    def __len__(self) -> int:
        """Events so far."""
        return self._length

    @property
    def nbytes(self) -> int:
        """Bytes that the caches hold, the room for later events included."""
        caches = (self._keys, self._values, self._block_keys, self._block_values, self._chosen_S)
        return sum(cache.numel() * cache.element_size() for cache in caches)

    @torch.no_grad()
    def clone(self) -> History:
        """A history of the same events that goes its own way."""
        clone = object.__new__(History)
        clone.__dict__.update(self.__dict__)
        clone._make_room(self._block_keys.shape[1])
        return clone

    __copy__ = clone  # one that shared the caches would write into them

    @torch.no_grad()
    def append(
        self,
        q: Given,
        k: Given,
        v: Given,
        gates: Given,
        *,
        block_query: Given | None = None,
        block_key: Given | None = None,
        block_value: Given | None = None,
        block_bias: Given | None = None,
    ) -> Float[Tensor, "H D"]:
        """Add an event and give its output: its row of `multi_granularity` over the history.

        Args:
            q: (H, D) query of the event.
            k: (H, D) its key.
            v: (H, D) its value.
            gates: (H, 3) what windowed, block-level and selective output are multiplied by.
            block_query: (H, D) what block-level scores and the choice are made of; None for ``q``.
            block_key: (H, D) with the last event of a block, a summary of that block; None for the mean of its keys.
                For every block or for none.
            block_value: as ``block_key``; None for the mean of the block's values.
            block_bias: (H, M) added to block-level scores after scaling; column m is for a block m + 1 blocks before
                the event's. M at least the number of earlier blocks, and 1.

        Raises:
            ConfigError: shapes, dtypes or devices do not fit, or a summary comes where no block ends, is missing
                where earlier blocks have one, or comes where they have none.
        """
        t, block = self._length, self._pattern.block
        own = t // block
        query = q if block_query is None else block_query
        H, _, D = self._keys.shape
        for name, tensor, width in (
            ("q", q, D),
            ("k", k, D),
            ("v", v, D),
            ("gates", gates, 3),
            ("block_query", query, D),
        ):
            self._check(name, tensor, (H, width))
        self._check_bias(block_bias, own)
        self._check_summaries(block_key, block_value)

        if t == self._keys.shape[1]:
            self._make_room(2 * own)
        self._keys[:, t] = k
        self._values[:, t] = v
        self._length = t + 1
        if t % self._pattern.group == 0:
            self._chosen_S = self._choose(query, own, block_bias)
        branches = (self._windowed(q), self._blockwise(query, own, block_bias), self._selective(q, own))
        if (t + 1) % block == 0:
            self._summarise(own, block_key, block_value)
        return (torch.stack(branches) * gates.T[:, :, None]).sum(0)

    def _windowed(self, q: Float[Tensor, "H D"]) -> Float[Tensor, "H D"]:
        seen = slice(max(0, self._length - self._pattern.window), self._length)
        return _attend(q, self._keys[:, seen], self._values[:, seen])

    def _blockwise(
        self, query: Float[Tensor, "H D"], own: int, bias: Float[Tensor, "H M"] | None
    ) -> Float[Tensor, "H D"]:
        if own == 0:
            return torch.zeros_like(query)
        bias_HC = None if bias is None else _bias_of_blocks(bias, own)
        return _attend(query, self._block_keys[:, :own], self._block_values[:, :own], bias_HC)

    def _selective(self, q: Float[Tensor, "H D"], own: int) -> Float[Tensor, "H D"]:
        own_S = torch.arange(own * self._pattern.block, self._length, device=q.device)
        seen_S = torch.cat([self._chosen_S, own_S])
        return _attend(q, self._keys.index_select(1, seen_S), self._values.index_select(1, seen_S))

    def _choose(
        self, query: Float[Tensor, "H D"], own: int, bias: Float[Tensor, "H M"] | None
    ) -> Int[Tensor, " S"]:
        """The events of the blocks before ``own`` with the highest scores, as `reference.choose` scores them."""
        # multiplied and added up, not a matrix product: equal blocks get equal bits, so their tie is seen
        logits_HC = (query[:, None] * self._block_keys[:, :own]).sum(-1) / math.sqrt(query.shape[1])
        if bias is not None:
            logits_HC = logits_HC + _bias_of_blocks(bias, own)
        score_C = torch.softmax(logits_HC, dim=-1).sum(0)
        best_X = score_C.sort(descending=True, stable=True).indices[: self._pattern.selected]
        within = torch.arange(self._pattern.block, device=query.device)
        return (best_X[:, None] * self._pattern.block + within).flatten()

    def _summarise(self, own: int, key: Tensor | None, value: Tensor | None) -> None:
        """Keep the summaries of the block that has just ended; from the next event on they are seen."""
        events = slice(own * self._pattern.block, self._length)
        for room, cache, summary in (
            (self._block_keys, self._keys, key),
            (self._block_values, self._values, value),
        ):
            if summary is None:
                summary = block_means(cache[None, :, events], self._pattern.block)[0, :, 0]
            room[:, own] = summary
        self._summarised = (key is not None, value is not None)

    def _make_room(self, blocks: int) -> None:
        """New caches of that many blocks with what the old ones have; all of them or, without memory, none."""
        ended, events = self._length // self._pattern.block, blocks * self._pattern.block
        self._keys, self._values, self._block_keys, self._block_values = (
            _moved(self._keys, self._length, events),
            _moved(self._values, self._length, events),
            _moved(self._block_keys, ended, blocks),
            _moved(self._block_values, ended, blocks),
        )

    def _check(self, name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
        dtype, device = self._keys.dtype, self._keys.device
        if tensor.shape != shape or tensor.dtype != dtype or tensor.device != device:
            raise ConfigError(
                f"expected {name} of shape {shape}, {dtype} on {device}, "
                f"got {tuple(tensor.shape)}, {tensor.dtype} on {tensor.device}"
            )

    def _check_bias(self, bias: Tensor | None, earlier: int) -> None:
        if bias is None:
            return
        heads, least = self._keys.shape[0], max(1, earlier)
        if bias.dim() != 2 or bias.shape[1] < least:
            raise ConfigError(
                f"expected block_bias of shape ({heads}, at least {least}), got {tuple(bias.shape)}"
            )
        self._check("block_bias", bias, (heads, bias.shape[1]))

    def _check_summaries(self, key: Tensor | None, value: Tensor | None) -> None:
        t, block = self._length, self._pattern.block
        H, _, D = self._keys.shape
        for name, summary, before in (
            ("block_key", key, self._summarised[0]),
            ("block_value", value, self._summarised[1]),
        ):
            if summary is not None:
                self._check(name, summary, (H, D))
                if (t + 1) % block:
                    raise ConfigError(
                        f"expected {name} with the last event of a block of {block}, "
                        f"got it with event {t % block + 1}; leave it out there"
                    )
            if (t + 1) % block == 0 and t >= block and before != (summary is not None):
                raise ConfigError(
                    f"expected {name} for every block or for none, got {'one' if before else 'none'} "
                    f"for the blocks before and {'none' if before else 'one'} for block {t // block}"
                )


def _attend(
    q: Float[Tensor, "H D"],
    keys: Float[Tensor, "H S D"],
    values: Float[Tensor, "H S D"],
    bias: Float[Tensor, "H S"] | None = None,
) -> Float[Tensor, "H D"]:
    """Softmax attention of one query a head to all those keys."""
    logits_HS = (keys @ q[:, :, None])[:, :, 0] / math.sqrt(q.shape[1])
    if bias is not None:
        logits_HS = logits_HS + bias
    weights_HS = torch.softmax(logits_HS, dim=-1)
    return (weights_HS[:, None] @ values)[:, 0]


def _bias_of_blocks(bias: Float[Tensor, "H M"], own: int) -> Float[Tensor, "H C"]:
    """The biases of the blocks 0 .. own - 1: the nearest one has the first."""
    return bias[:, :own].flip(1)


@torch.inference_mode(mode=False)  # made in inference mode, a cache could not be written outside of it
def _moved(cache: Float[Tensor, "H _ D"], used: int, size: int) -> Float[Tensor, "H _ D"]:
    """The used rows in a new cache of that size."""
    moved = cache.new_empty(cache.shape[0], size, cache.shape[2])
    moved[:, :used] = cache[:, :used]
    return moved
