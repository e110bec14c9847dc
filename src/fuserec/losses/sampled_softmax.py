"""Softmax over the target and a sample of the catalogue, in place of all of it.

Y. Bengio, J.-S. Senecal, "Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language
Model", IEEE Transactions on Neural Networks 19(4), 2008; for negatives taken from the batch, X. Yi et al.,
"Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019.

Shape legend
    T  predictions   N  negatives   D  width   H  hits: a negative that is the target of a prediction
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from fuserec.ops.cross_entropy import cross_entropy_in_place, rows_at_a_time, whole_lines
from fuserec.shapes import Float, Int

__all__ = ["sampled_softmax", "sampled_softmax_reference"]


class _SampledSoftmax(torch.autograd.Function):
    """As the softmax over all items: rows of logits at a time, in one buffer. The target is the column after the negatives."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        query: Tensor,
        positive: Tensor,
        negative: Tensor,
        target: Tensor,
        negatives: Tensor,
        log_expected: Tensor,
        log_expected_positive: Tensor | None,
    ) -> Tensor:
        to_query, to_positive, to_negative, *_ = ctx.needs_input_grad  # type: ignore[attr-defined]
        count, size = len(query), len(negative)
        rows = rows_at_a_time(size)
        share = 1.0 / max(count, 1)
        buffer = query.new_empty(min(rows, count), whole_lines(size + 1))
        of_query = torch.empty_like(query) if to_query else None
        of_positive = torch.empty_like(positive) if to_positive else None
        of_negative = torch.zeros_like(negative) if to_negative else None
        ordered, order = negatives.sort()
        loss = query.new_zeros(())
        for start in range(0, count, rows):
            part = slice(start, start + rows)
            queries, positives, targets = query[part], positive[part], target[part]
            lines = buffer[: len(queries)]
            others, of_target = lines[:, :size], lines[:, size : size + 1]
            lines[:, size:] = -torch.inf
            torch.sum(queries * positives, 1, keepdim=True, out=of_target)
            if log_expected_positive is not None:
                of_target -= log_expected_positive[part, None]
            torch.mm(queries, negative.T, out=others).sub_(log_expected)
            hit_rows, hit_places = _hits(targets, ordered)
            others[hit_rows, order[hit_places]] = -torch.inf
            loss += cross_entropy_in_place(lines, torch.full_like(targets, size)).sum()
            if of_query is not None:
                torch.mm(others, negative, out=of_query[part])
                of_query[part].addcmul_(of_target, positives).mul_(share)
            if of_positive is not None:
                torch.mul(queries, of_target, out=of_positive[part]).mul_(share)
            if of_negative is not None:
                of_negative.addmm_(others.T, queries, alpha=share)
        ctx.save_for_backward(of_query, of_positive, of_negative)  # type: ignore[arg-type]
        return loss.mul_(share)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # type: ignore[attr-defined]
        return *(None if one is None else gradient * one for one in saved), None, None, None, None


def _hits(
    target: Int[Tensor, " T"], ordered: Int[Tensor, " N"]
) -> tuple[Int[Tensor, " H"], Int[Tensor, " H"]]:
    """Every prediction with every place of its target among the ascending negatives.

    Few of the pairs are hits: two searches take a quarter of the time of comparing all pairs.
    """
    first = torch.searchsorted(ordered, target)
    times = torch.searchsorted(ordered, target, right=True) - first
    rows = torch.repeat_interleave(times)
    earlier = times.cumsum(0) - times
    return rows, torch.arange(len(rows), device=rows.device) + (first - earlier)[rows]


def sampled_softmax(
    query: Float[Tensor, "T D"],
    positive: Float[Tensor, "T D"],
    negative: Float[Tensor, "N D"],
    *,
    target: Int[Tensor, " T"],
    negatives: Int[Tensor, " N"],
    log_expected: Float[Tensor, " N"],
    log_expected_positive: Float[Tensor, " T"] | None = None,
) -> Float[Tensor, ""]:
    """Mean of -log softmax at the target, among the target and one sample of negatives for all predictions.

    A negative counts for all items in whose place it was drawn: its logit is lessened by the logarithm of how often it was to
    be expected. So the sum of the softmax is on average that over the whole catalogue, and value and gradients
    approach those of `softmax` as N grows. A negative that is the target of a prediction is left out there.

    Negatives from the batch are ``negative=positive, negatives=target``. They favour whatever is a target often; with
    ``log_expected_positive`` the targets are corrected as they are.

    Args:
        query: (T, D) what predicts; a temperature divides it before.
        positive: (T, D) vectors of the targets.
        negative: (N, D) vectors of the negatives.
        target: (T,) int64 item rows.
        negatives: (N,) int64 item rows; one drawn twice stands there twice.
        log_expected: (N,) log of how often each of them is expected in the sample: log(N q) where N are drawn, with
            replacement, from a distribution q. No gradient.
        log_expected_positive: (T,) the same of the targets, lessening their logits too; None leaves those as they
            are. No gradient.

    Returns:
        () the loss in nats; 0 where there is no prediction, and where no negative is left.

    Example:
        >>> query, positive, negative = torch.zeros(1, 2), torch.ones(1, 2), torch.ones(2, 2)
        >>> rows = {"target": torch.tensor([7]), "negatives": torch.tensor([3, 7])}
        >>> loss = sampled_softmax(query, positive, negative, **rows, log_expected=torch.zeros(2))
        >>> round(float(loss), 4)  # blind between 7 and 3: log 2
        0.6931
    """
    if not torch.is_grad_enabled():  # which an autograd function is not told
        query, positive, negative = query.detach(), positive.detach(), negative.detach()
    result: Tensor = _SampledSoftmax.apply(  # type: ignore[no-untyped-call]
        query, positive, negative, target, negatives, log_expected, log_expected_positive
    )
    return result


def sampled_softmax_reference(
    query: Float[Tensor, "T D"],
    positive: Float[Tensor, "T D"],
    negative: Float[Tensor, "N D"],
    *,
    target: Int[Tensor, " T"],
    negatives: Int[Tensor, " N"],
    log_expected: Float[Tensor, " N"],
    log_expected_positive: Float[Tensor, " T"] | None = None,
) -> Float[Tensor, ""]:
    """`sampled_softmax`, literally: a cross-entropy whose first column is the target."""
    of_target = (query * positive).sum(1, keepdim=True)
    if log_expected_positive is not None:
        of_target = of_target - log_expected_positive[:, None]
    others = query @ negative.T - log_expected
    logits = torch.cat([of_target, others.masked_fill(target[:, None] == negatives, -torch.inf)], 1)
    return F.cross_entropy(logits, torch.zeros_like(target), reduction="sum") / max(len(target), 1)
