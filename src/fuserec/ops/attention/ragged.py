"""Histories of different lengths for forms that know full lengths alone.

Right-padded histories are computed as they stand, with zeros in their pads. Packed ones are laid out in buckets of
similar length first, so that little is computed for pads.

Shape legend
    B  histories   H  heads   L  positions   D  width   T  positions of all packed histories
    P  rows of all padded buckets
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx

from fuserec.ops.attention.summaries import Summaries
from fuserec.shapes import Float, Int

__all__ = ["Run", "in_buckets", "length_buckets", "within"]

Run = Callable[[Tensor, Tensor, Tensor, Tensor | None, Summaries], Tensor]
"""(q, k, v, gates, summaries) of histories that all have the full length, to the output: a form and its pattern."""

STRETCH, SLACK = 1.25, 16
"""A bucket's longest history over its shortest: at most this factor and these events more.

Why these: docs/lab.md, "Sparse attention", Buckets.
"""


def within(
    run: Run,
    q: Float[Tensor, "B H L D"],
    k: Float[Tensor, "B H L D"],
    v: Float[Tensor, "B H L D"],
    gates: Float[Tensor, "B L H 3"] | None,
    summaries: Summaries,
    lengths: Int[Tensor, " B"],
    *,
    block: int,
) -> Float[Tensor, "B H L D"]:
    """Attention in right-padded histories; a pad has output 0 and gradient 0, whatever stands in it.

    No event sees a later one, so the pads need no mask in any branch. They are set to 0 because softmax weights of 0
    do not keep out a NaN.

    Args:
        run: what to compute.
        q: (B, H, L, D) queries.
        k: keys, as ``q``.
        v: values, as ``q``.
        gates: (B, L, H, 3) or None.
        summaries: only those of blocks before the last one count; nobody sees that.
        lengths: (B,) int32 or int64, from 0 to L.
        block: events in a block.
    """
    pad_BL = torch.arange(q.shape[2], device=q.device) >= lengths.to(q.device)[:, None]
    events = pad_BL[:, None, :, None]
    # nobody sees the last block that has begun
    blocks = F.pad(events[:, :, block::block], (0, 0, 0, 1), value=True)
    out_BHLD = run(
        q.masked_fill(events, 0),
        k.masked_fill(events, 0),
        v.masked_fill(events, 0),
        _zeroed(gates, pad_BL[:, :, None, None]),
        Summaries(
            query=_zeroed(summaries.query, events),
            key=_zeroed(summaries.key, blocks),
            value=_zeroed(summaries.value, blocks),
            bias=summaries.bias,
        ),
    )
    return out_BHLD.masked_fill(events, 0)


def in_buckets(
    run: Run,
    q: Float[Tensor, "T H D"],
    k: Float[Tensor, "T H D"],
    v: Float[Tensor, "T H D"],
    gates: Float[Tensor, "T H 3"] | None,
    summaries: Summaries,
    offsets: Int[Tensor, " B_plus_1"],
    *,
    block: int,
) -> Float[Tensor, "T H D"]:
    """Attention in packed histories, those of similar length padded to the longest of them and computed together.

    Args:
        run: what to compute.
        q: (T, H, D) queries.
        k: keys, as ``q``.
        v: values, as ``q``.
        gates: (T, H, 3) or None.
        summaries: packed; key and value have ceil(length / block) rows a history.
        offsets: (B + 1,) int32 or int64, where each history begins, and T.
        block: events in a block.
    """
    lengths_B = offsets.long().cpu().diff()
    buckets = length_buckets(lengths_B)
    events = _Layout.of(lengths_B, buckets, device=q.device)
    blocks_B = -(-lengths_B // block)
    blocks = _Layout.of(blocks_B, buckets, device=q.device)
    # nobody sees a history's last block, but it comes to stand before pads: whatever it is, it shall be a number
    last = (blocks_B.cumsum(0) - 1)[blocks_B > 0].to(q.device)
    key, value = (None if x is None else x.index_fill(0, last, 0) for x in (summaries.key, summaries.value))
    none = [None] * len(events.shapes)
    outputs = []
    for bucket_q, bucket_k, bucket_v, bucket_gates, *bucket_summaries in zip(
        events.heads_first(q),
        events.heads_first(k),
        events.heads_first(v),
        none if gates is None else events.padded(gates),
        none if summaries.query is None else events.heads_first(summaries.query),
        none if key is None else blocks.heads_first(key),
        none if value is None else blocks.heads_first(value),
        strict=True,
    ):
        read = Summaries(
            **dict(zip(("query", "key", "value"), bucket_summaries, strict=True)), bias=summaries.bias
        )
        outputs.append(run(bucket_q, bucket_k, bucket_v, bucket_gates, read))
    return events.collected(outputs)


def length_buckets(
    lengths: Int[Tensor, " B"], *, stretch: float = STRETCH, slack: int = SLACK
) -> list[Int[Tensor, " _"]]:
    """Which histories to pad to a common length: as few buckets as the bound on the padding allows.

    A history of length n is padded to at most stretch * n + slack, so the number of buckets grows with the logarithm of
    the longest. Every history that is not empty is in one bucket; equal lengths stay together and in order.

    Args:
        lengths: (B,) events of each history.
        stretch: at least 1.
        slack: events; keeps the short histories together.

    Returns:
        The numbers of the histories of each bucket, the shortest first.

    Example:
        >>> [bucket.tolist() for bucket in length_buckets(torch.tensor([40, 3, 0, 9, 36]))]
        [[1, 3], [4, 0]]
    """
    sorted_B, order_B = lengths.sort(stable=True)
    begin = int(torch.searchsorted(sorted_B, 1))
    buckets = []
    while begin < len(lengths):
        longest = int(stretch * int(sorted_B[begin])) + slack
        end = int(torch.searchsorted(sorted_B, longest, right=True))
        buckets.append(order_B[begin:end])
        begin = end
    return buckets


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Where packed rows stand in the padded buckets, which lie one after another.

    Attributes:
        slots_T: (T,) the place of each packed row among the P padded ones.
        shapes: histories and common length of each bucket.
    """

    slots_T: Int[Tensor, " T"]
    shapes: list[tuple[int, int]]

    @classmethod
    def of(
        cls, counts_B: Int[Tensor, " B"], buckets: list[Int[Tensor, " _"]], *, device: torch.device
    ) -> _Layout:
        # without any row there is one bucket of one empty history: the form is called, autograd knows every input
        shapes = [(len(bucket), int(counts_B[bucket].max())) for bucket in buckets] or [(1, 0)]
        first_slots_B = torch.zeros_like(counts_B)
        used = 0
        for bucket, (histories, longest) in zip(buckets, shapes, strict=False):
            first_slots_B[bucket] = used + torch.arange(histories) * longest
            used += histories * longest
        shifts_B = first_slots_B - (counts_B.cumsum(0) - counts_B)
        slots_T = torch.arange(int(counts_B.sum())) + shifts_B.repeat_interleave(counts_B)
        return cls(slots_T=slots_T.to(device), shapes=shapes)

    def padded(self, x: Float[Tensor, "*packed"]) -> list[Float[Tensor, "*padded"]]:
        """(T, ...) rows as (histories, longest, ...) of each bucket, 0 in the pads."""
        sizes = [histories * longest for histories, longest in self.shapes]
        rows_P: Tensor = _Spread.apply(x, self.slots_T, sum(sizes))  # type: ignore[no-untyped-call]
        parts = rows_P.split(sizes)
        return [part.unflatten(0, shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def heads_first(self, x: Float[Tensor, "T H D"]) -> list[Float[Tensor, "_ H _ D"]]:
        """(histories, H, longest, D) of each bucket, 0 in the pads."""
        return [part.transpose(1, 2) for part in self.padded(x)]

    def collected(self, outputs: list[Float[Tensor, "_ H _ D"]]) -> Float[Tensor, "T H D"]:
        """The packed rows of what came of each bucket."""
        rows_PHD = torch.cat([out_BHLD.transpose(1, 2).flatten(0, 1) for out_BHLD in outputs])
        collected: Tensor = _Collect.apply(rows_PHD, self.slots_T)  # type: ignore[no-untyped-call]
        return collected


class _Spread(torch.autograd.Function):
    """Rows to their slots, 0 elsewhere. No two rows share a slot, so the gradient is a selection."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, slots_T: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(slots_T)
        return x.new_zeros(size, *x.shape[1:]).index_copy_(0, slots_T, x)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None, None]:
        (slots_T,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return _Collect.apply(gradient, slots_T), None, None  # type: ignore[no-untyped-call]


class _Collect(torch.autograd.Function):
    """Rows from their slots: the transpose of `_Spread`."""

    @staticmethod
    def forward(ctx: FunctionCtx, rows: Tensor, slots_T: Tensor) -> Tensor:
        ctx.save_for_backward(slots_T)
        ctx.size = len(rows)  # type: ignore[attr-defined]
        return rows.index_select(0, slots_T)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        (slots_T,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return _Spread.apply(gradient, slots_T, ctx.size), None  # type: ignore[attr-defined, no-untyped-call]


def _zeroed(x: Tensor | None, pads: Tensor) -> Tensor | None:
    return None if x is None else x.masked_fill(pads, 0)
