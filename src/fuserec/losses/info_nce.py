"""Symmetric InfoNCE between two views of the same rows.

Shape legend
    N  rows   D  width
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from fuserec.shapes import Float

__all__ = ["info_nce", "info_nce_reference"]


class _InfoNce(torch.autograd.Function):
    """One N x N buffer: the gradient is computed in the forward pass, in place.

    Rows are units, so no logit exceeds 1 / temperature and that bound serves as the stable shift.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, a: Tensor, b: Tensor, temperature: float, same_above: float) -> Tensor:
        count = len(a)
        cosine = a @ b.T
        diagonal = cosine.diagonal().clone()
        masked = cosine > same_above
        masked.fill_diagonal_(False)
        weights = cosine.sub_(1.0).div_(temperature).exp_().masked_fill_(masked, 0.0)
        of_row, of_column = weights.sum(1), weights.sum(0)
        loss = (of_row.log() + of_column.log()).mean() / 2 - (diagonal - 1.0).mean() / temperature
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:  # type: ignore[attr-defined]
            weights.mul_(of_row.reciprocal()[:, None] + of_column.reciprocal()).div_(2)
            weights.diagonal().sub_(1.0)
            weights.div_(count * temperature)
            ctx.save_for_backward(weights @ b, weights.T @ a)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:  # type: ignore[override]
        of_a, of_b = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradient * of_a, gradient * of_b, None, None


def info_nce(
    a: Float[Tensor, "N D"], b: Float[Tensor, "N D"], *, temperature: float, same_above: float = 2.0
) -> Float[Tensor, ""]:
    """Mean of the two cross-entropies that find row i of ``b`` from row i of ``a`` and back.

    Paper: TMFUN Eq. (9).

    Args:
        a: (N, D) first view.
        b: (N, D) second view; rows of both are scaled to unit length here.
        temperature: divides the cosines; above 0.
        same_above: a pair of different rows with a larger cosine counts as the same thing and is left
            out of the negatives; 2 leaves nothing out.

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
    result: Tensor = _InfoNce.apply(  # type: ignore[no-untyped-call]
        F.normalize(a, dim=1), F.normalize(b, dim=1), temperature, same_above
    )
    return result


def info_nce_reference(
    a: Float[Tensor, "N D"], b: Float[Tensor, "N D"], *, temperature: float, same_above: float = 2.0
) -> Float[Tensor, ""]:
    """`info_nce`, literally: two cross-entropies over the same logits."""
    cosine = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
    masked = (cosine > same_above) & ~torch.eye(len(a), dtype=torch.bool)
    logits = (cosine / temperature).masked_fill(masked, -torch.inf)
    target = torch.arange(len(a))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
