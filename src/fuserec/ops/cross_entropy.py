"""Cross-entropy of rows of logits, and its gradient where the logits stood.

What surrounds the products of a loss over a catalogue: four passes over a few hundred rows at a time, one of them the
softmax, which takes the shift, the exponential and the sum of a row at once.

Shape legend
    R  rows   C  columns: what is to choose from
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuserec.shapes import Float, Int

__all__ = ["cross_entropy_in_place", "rows_at_a_time", "whole_lines"]

VALUES, FEWEST = 2**21, 192
"""Of a buffer of rows: about 8 MiB of float32, which stay in the cache, but never so few rows that products slow down."""

LINE = 16
"""Float32 values of a cache line."""


def cross_entropy_in_place(logits: Float[Tensor, "R C"], target: Int[Tensor, " R"]) -> Float[Tensor, " R"]:
    """-log softmax(logits) at the target of each row, as `torch.nn.functional.cross_entropy` has it.

    Args:
        logits: (R, C), contiguous, outside of autograd; -inf in a column that is not to be chosen. Afterwards they
            hold the gradient of their own row's value: softmax(logits), less 1 at the target.
        target: (R,) int64 columns.

    Returns:
        (R,) in nats.

    Example:
        >>> logits = torch.zeros(1, 4)
        >>> cross_entropy_in_place(logits, torch.tensor([1])).exp(), logits
        (tensor([4.]), tensor([[ 0.2500, -0.7500,  0.2500,  0.2500]]))
    """
    at_target = target[:, None]
    below_best = logits.amax(1) - logits.gather(1, at_target)[:, 0]
    torch.softmax(logits, 1, out=logits)
    # the best has a share of at least 1 / C, so no logarithm overflows
    losses = below_best - logits.amax(1).log()
    logits.scatter_add_(1, at_target, logits.new_full(at_target.shape, -1.0))
    return losses


def rows_at_a_time(columns: int) -> int:
    """Rows of so many columns that are worth handling at a time."""
    return max(VALUES // max(columns, 1), FEWEST)


def whole_lines(columns: int) -> int:
    """So many columns or a few more, so that each row begins at a cache line: products take as little as half."""
    return -(-columns // LINE) * LINE
