"""Symmetric InfoNCE between two views of the same rows.

Shape legend
    N  rows   D  width
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from fuserec.ops.cross_entropy import whole_lines
from fuserec.ops.fusion import unit_or_zero
from fuserec.shapes import Bool, Float

__all__ = ["info_nce", "info_nce_reference"]


ROWS = 384
"""Rows of the N x N matrix handled at a time, so that they stay in the processor's cache."""

LARGEST_EXPONENT = 60.0
"""exp of this and of its negative are far from the ends of float32, also when summed."""


class _InfoNce(torch.autograd.Function):
    """One N x N buffer: the gradient is computed in the forward pass, in place, by blocks of rows.

    Rows are units, so no logit exceeds 1 / temperature, which is at most `LARGEST_EXPONENT` here: exp needs no shift.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, a: Tensor, b: Tensor, temperature: float, same_above: float, same_NN: Tensor | None
    ) -> Tensor:
        count = len(a)
        scaled = a / temperature
        transposed = _whole_lines(a, a.shape[1], count).copy_(b.T)
        limit = math.exp(min(same_above / temperature, LARGEST_EXPONENT + 1.0))
        weights = _whole_lines(a, count, count)
        of_row, of_column = a.new_empty(count), a.new_zeros(count)
        for start in range(0, count, ROWS):
            rows = weights[start : start + ROWS]
            torch.mm(scaled[start : start + ROWS], transposed, out=rows)
            rows.exp_()
            if rows.amax() > limit:
                same = rows > limit
                same.diagonal(start).zero_()
                rows.masked_fill_(same, 0.0)
            if same_NN is not None:
                same = same_NN[start : start + ROWS].clone()
                same.diagonal(start).zero_()
                rows.masked_fill_(same, 0.0)
            torch.sum(rows, 1, out=of_row[start : start + ROWS])
            of_column += rows.sum(0)
        loss = (of_row.log() + of_column.log()).mean() / 2 - (scaled * b).sum(1).mean()
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:  # type: ignore[attr-defined]
            row_share, column_share = of_row.reciprocal(), of_column.reciprocal()
            of_a, of_b = torch.empty_like(a), torch.zeros_like(b)
            for start in range(0, count, ROWS):
                part = slice(start, start + ROWS)
                rows = weights[part].mul_(row_share[part, None] + column_share)
                torch.mm(rows, b, out=of_a[part])
                of_b.addmm_(rows.T, a[part])
            scale = 1.0 / (2 * count * temperature)
            ctx.save_for_backward(of_a.sub_(2 * b).mul_(scale), of_b.sub_(2 * a).mul_(scale))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        of_a, of_b = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradient * of_a, gradient * of_b, None, None, None


def _whole_lines(like: Tensor, rows: int, columns: int) -> Tensor:
    """(rows, columns) to write into, each row at the beginning of a cache line: products take a tenth less."""
    return like.new_empty(rows, whole_lines(columns))[:, :columns]


def info_nce(
    a: Float[Tensor, "N D"],
    b: Float[Tensor, "N D"],
    *,
    temperature: float,
    same_above: float = 2.0,
    same: Bool[Tensor, "N N"] | None = None,
) -> Float[Tensor, ""]:
    """Mean of the two cross-entropies that find row i of ``b`` from row i of ``a`` and back.

    Paper: TMFUN Eq. (9).

    Args:
        a: (N, D) first view.
        b: (N, D) second view; rows of both are scaled to unit length here. A zero row has cosine 0 with
            all others and gets no gradient.
        temperature: divides the cosines; above 0. Below 1/60 the literal form is computed, which is slower.
        same_above: a pair of different rows with a larger cosine counts as the same thing and is left
            out of the negatives; 2 leaves nothing out.
        same: (N, N) pairs of rows that count as the same thing by another measure than the cosine of the two views;
            the diagonal is not looked at.

    Returns:
        () the loss in nats; 0 where there is no row.

    Example:
        >>> import torch
        >>> same = torch.ones(4, 2)
        >>> round(float(info_nce(same, same, temperature=0.5)), 4)  # blind among four: log 4
        1.3863
    """
    if len(a) == 0:
        return (a.sum() + b.sum()) * 0.0
    if temperature * LARGEST_EXPONENT < 1.0:
        return info_nce_reference(a, b, temperature=temperature, same_above=same_above, same=same)
    result: Tensor = _InfoNce.apply(  # type: ignore[no-untyped-call]
        unit_or_zero(a), unit_or_zero(b), temperature, same_above, same
    )
    return result


def info_nce_reference(
    a: Float[Tensor, "N D"],
    b: Float[Tensor, "N D"],
    *,
    temperature: float,
    same_above: float = 2.0,
    same: Bool[Tensor, "N N"] | None = None,
) -> Float[Tensor, ""]:
    """`info_nce`, literally: two cross-entropies over the same logits."""
    cosine = unit_or_zero(a) @ unit_or_zero(b).T
    target = torch.arange(len(a), device=a.device)
    alike = cosine > same_above if same is None else (cosine > same_above) | same
    masked = alike & (target[:, None] != target)
    logits = (cosine / temperature).masked_fill(masked, -torch.inf)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
