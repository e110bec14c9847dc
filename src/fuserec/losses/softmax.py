"""Softmax over the whole catalogue.

Shape legend
    T  predictions   C  items to choose from   D  width
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from fuserec.ops.cross_entropy import cross_entropy_in_place, rows_at_a_time, whole_lines
from fuserec.shapes import Float, Int

__all__ = ["softmax", "softmax_reference"]


class _Softmax(torch.autograd.Function):
    """Rows of logits at a time, in one buffer: before the next come, they have given their part of both gradients."""

    @staticmethod
    def forward(ctx: FunctionCtx, query: Tensor, item: Tensor, target: Tensor) -> Tensor:
        to_query, to_item, _ = ctx.needs_input_grad  # type: ignore[attr-defined]
        count, rows = len(query), rows_at_a_time(len(item))
        share = 1.0 / max(count, 1)
        buffer = query.new_empty(min(rows, count), whole_lines(len(item)))
        of_query = torch.empty_like(query) if to_query else None
        of_item = torch.zeros_like(item) if to_item else None
        loss = query.new_zeros(())
        for start in range(0, count, rows):
            part = slice(start, start + rows)
            queries = query[part]
            lines = buffer[: len(queries)]
            lines[:, len(item) :] = -torch.inf
            logits = torch.mm(queries, item.T, out=lines[:, : len(item)])
            loss += cross_entropy_in_place(lines, target[part]).sum()
            if of_query is not None:
                torch.mm(logits, item, out=of_query[part]).mul_(share)
            if of_item is not None:
                of_item.addmm_(logits.T, queries, alpha=share)
        ctx.save_for_backward(of_query, of_item)  # type: ignore[arg-type]
        return loss.mul_(share)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # type: ignore[attr-defined]
        return *(None if one is None else gradient * one for one in saved), None


def softmax(
    query: Float[Tensor, "T D"], item: Float[Tensor, "C D"], target: Int[Tensor, " T"]
) -> Float[Tensor, ""]:
    """Mean of minus the logarithm of what ``query @ item.T``, by softmax, gives the target.

    Exact over all items, in the memory of a few hundred rows of logits. Both gradients are computed on the way, so they
    cannot be differentiated again.

    Args:
        query: (T, D) what predicts; a temperature divides it before.
        item: (C, D) all items.
        target: (T,) int64 rows of ``item``.

    Returns:
        () the loss in nats; 0 where there is no prediction.

    Raises:
        ValueError: a target is no row of ``item``.

    Example:
        >>> round(float(softmax(torch.zeros(2, 3), torch.ones(4, 3), torch.tensor([0, 3]))), 4)  # blind: log 4
        1.3863
    """
    outside = (target < 0) | (target >= len(item))
    if outside.any():
        raise ValueError(f"expected targets in 0 .. {len(item) - 1}, got {int(target[outside][0])}")
    if not torch.is_grad_enabled():  # which an autograd function is not told
        query, item = query.detach(), item.detach()
    result: Tensor = _Softmax.apply(query, item, target)  # type: ignore[no-untyped-call]
    return result


def softmax_reference(
    query: Float[Tensor, "T D"], item: Float[Tensor, "C D"], target: Int[Tensor, " T"]
) -> Float[Tensor, ""]:
    """`softmax`, literally."""
    return F.cross_entropy(query @ item.T, target, reduction="sum") / max(len(target), 1)
