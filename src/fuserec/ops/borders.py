"""Where blocks of interest begin, decided from the past alone.

A border before event t depends on events <= t. Borders ranked over a whole history would know what comes.

Shape legend
    T  packed events   B  histories   D  width
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuserec.ops.fusion import unit_or_zero
from fuserec.ops.rotary import positions
from fuserec.shapes import Bool, Float, Int

__all__ = ["content_borders", "fixed_borders", "time_borders"]


def fixed_borders(offsets: Int[Tensor, " B_plus_1"], *, block: int) -> Bool[Tensor, " T"]:
    """True where a block begins: every ``block`` events, from the start of a history.

    Example:
        >>> fixed_borders(torch.tensor([0, 3, 4]), block=2).long().tolist()
        [1, 0, 1, 1]
    """
    return positions(offsets) % block == 0


def content_borders(
    vectors: Float[Tensor, "T D"],
    offsets: Int[Tensor, " B_plus_1"],
    *,
    threshold: float,
    block: int,
    started: bool = False,
) -> Bool[Tensor, " T"]:
    """True where a block begins: the event is unlike the one before it, or the block is full.

    Args:
        vectors: (T, D) of the events' items; one of zeros is unlike all, its cosine being 0.
        offsets: (B + 1,) where each history begins, and T.
        threshold: a smaller cosine of neighbours is a border.
        block: most events of a block.
        started: the first row of each history stands for its start and has no content, whatever vector is given for it: it
            counts in the first block, and no border comes between it and the first event.

    Example:
        >>> east, north = [1.0, 0.0], [0.0, 1.0]
        >>> vectors = torch.tensor([east, east, north, north, north, north])
        >>> content_borders(vectors, torch.tensor([0, 6]), threshold=0.5, block=3).long().tolist()
        [1, 0, 1, 0, 0, 1]
    """
    with torch.no_grad():
        units_TD = unit_or_zero(vectors)
        unlike = (units_TD[1:] * units_TD[:-1]).sum(1) < threshold
    if started:
        starts = offsets[:-1]
        unlike[starts[starts < len(unlike)]] = False
    return _or_full(unlike, offsets, block)


def time_borders(
    times: Int[Tensor, " T"], offsets: Int[Tensor, " B_plus_1"], *, gap: int, block: int
) -> Bool[Tensor, " T"]:
    """True where a block begins: more than ``gap`` after the event before it, or the block is full.

    Args:
        times: (T,) when each event was, never falling within a history.
        offsets: (B + 1,) where each history begins, and T.
        gap: the longest pause within a block, in the unit of ``times``; to be chosen on training data.
        block: most events of a block.

    Example:
        >>> time_borders(torch.tensor([0, 5, 90, 91, 92]), torch.tensor([0, 5]), gap=60, block=2).long().tolist()
        [1, 0, 1, 0, 1]
    """
    return _or_full(times.diff() > gap, offsets, block)


def _or_full(breaks: Bool[Tensor, " _"], offsets: Int[Tensor, " B_plus_1"], block: int) -> Bool[Tensor, " T"]:
    """Borders where neighbours part and where histories begin, and ``block`` events after any border."""
    begins_T = positions(offsets) == 0
    begins_T[1:] |= breaks
    at_T = torch.arange(len(begins_T), device=begins_T.device)
    since_T = at_T - at_T.where(begins_T, 0).cummax(0).values
    return since_T % block == 0
