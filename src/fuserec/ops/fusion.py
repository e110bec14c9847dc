"""Attention over a handful of alternatives, some of which may be missing.

Shape legend
    B  rows   M  alternatives (modalities, or fusion steps)   D  width
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from fuserec.shapes import Bool, Float

__all__ = [
    "SHORTEST",
    "attend",
    "attend_reference",
    "choice_weights",
    "unit_or_zero",
    "unit_or_zero_reference",
    "weighted_sum",
]

SHORTEST = 1e-8
"""Rows below this length are divided by it instead of their length (Eq. 8)."""


def choice_weights(logits: Float[Tensor, "B M"], available: Bool[Tensor, "B M"]) -> Float[Tensor, "B M"]:
    """Softmax over the available alternatives; a row without any gets zeros (and no gradient).

    Args:
        logits: (B, M).
        available: (B, M) True where there is something to choose.

    Example:
        >>> choice_weights(torch.zeros(1, 3), torch.tensor([[True, True, False]]))
        tensor([[0.5000, 0.5000, 0.0000]])
    """
    lowest = torch.finfo(logits.dtype).min
    return torch.softmax(logits.masked_fill(~available, lowest), dim=1) * available


def weighted_sum(weights: Float[Tensor, "M B"], answers: Float[Tensor, "M B D"]) -> Float[Tensor, "B D"]:
    """Sum over the alternatives of weight times answer, without an (M, B, D) product; no gradient is kept."""
    total = weights[0, :, None] * answers[0]
    for weight_B, answer_BD in zip(weights[1:], answers[1:], strict=True):
        total.addcmul_(weight_B[:, None], answer_BD)
    return total


class _Attend(torch.autograd.Function):
    """Attention over a few alternatives with its gradient written out: few passes over (M, B, D)."""

    @staticmethod
    def forward(ctx: FunctionCtx, query: Tensor, answers: Tensor, available: Tensor) -> Tensor:
        scale = query.shape[1] ** -0.5
        weights_MB = choice_weights((query * answers).sum(2).T * scale, available).T.contiguous()
        ctx.save_for_backward(query, answers, weights_MB)
        return weighted_sum(weights_MB, answers)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        query, answers, weights_MB = ctx.saved_tensors  # type: ignore[attr-defined]
        of_weights_MB = (gradient * answers).sum(2)
        of_logits_MB = weights_MB * (of_weights_MB - (weights_MB * of_weights_MB).sum(0))
        of_logits_MB *= query.shape[1] ** -0.5
        of_answers = weights_MB[:, :, None] * gradient
        of_answers.addcmul_(of_logits_MB[:, :, None], query.expand_as(answers))
        return weighted_sum(of_logits_MB, answers), of_answers, None


def attend(
    query: Float[Tensor, "B D"], answers: Float[Tensor, "M B D"], available: Bool[Tensor, "B M"]
) -> Float[Tensor, "B D"]:
    """What each row's query takes from its answers: sum_m a_m h_m, a = softmax(<q, h_m> / sqrt(D)).

    Paper: TMFUN Eq. (6) and (7).

    Args:
        query: (B, D).
        answers: (M, B, D), alternative first, so that each is one dense matrix.
        available: (B, M) answers that a row has.

    Returns:
        (B, D); zero for a row without any answer.
    """
    result: Tensor = _Attend.apply(query, answers, available)  # type: ignore[no-untyped-call]
    return result


def attend_reference(
    query: Float[Tensor, "B D"], answers: Float[Tensor, "M B D"], available: Bool[Tensor, "B M"]
) -> Float[Tensor, "B D"]:
    """`attend`, literally: row by row, over the answers that the row has."""
    rows = []
    for row in range(len(query)):
        here = torch.nonzero(available[row]).squeeze(1)
        logits = (answers[here, row] @ query[row]) / query.shape[1] ** 0.5
        rows.append(torch.softmax(logits, dim=0) @ answers[here, row])
    return torch.stack(rows)


class _Unit(torch.autograd.Function):
    """The gradient of x / ||x|| from its result, in three passes."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        length: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        # a zero row has no direction; the quotient alone would give it a gradient 1e8 times too long
        scale = length.clamp_min(SHORTEST).reciprocal() * (length > 0)
        unit = x * scale
        ctx.save_for_backward(unit, scale, length > SHORTEST)
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        unit, scale, divided = ctx.saved_tensors  # type: ignore[attr-defined]
        radial = (gradient * unit).sum(1, keepdim=True) * divided
        return torch.addcmul(gradient, radial, unit, value=-1.0).mul_(scale)


def unit_or_zero(x: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
    """X / max(||x||, 1e-8), row by row: unit rows, and zero, without a gradient, where x is zero.

    Paper: TMFUN Eq. (8).
    """
    result: Tensor = _Unit.apply(x)  # type: ignore[no-untyped-call]
    return result


def unit_or_zero_reference(x: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
    """`unit_or_zero`, literally."""
    length: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return torch.where(length > 0, x / length.clamp_min(SHORTEST), 0.0)
