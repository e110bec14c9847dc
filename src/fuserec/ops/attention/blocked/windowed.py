"""The windowed branch of the blocked form: tiles of queries against overlapping views of keys and values.

Shape legend
    N  histories times heads   L  positions   Q  queries of a tile   S  keys of a tile   D  width
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from fuserec.ops.attention.blocked.tiles import (
    MAX_SCORES,
    attend,
    attend_backward,
    hidden_where_not,
    spans,
    tiles,
)
from fuserec.ops.attention.visibility import in_window
from fuserec.shapes import Float

__all__ = ["add_windowed", "add_windowed_backward", "tile_rows"]


class _Run(NamedTuple):
    """Tiles at even steps that have equally many queries, and equally many keys before their first query."""

    first: int
    step: int
    tiles: int
    rows: int
    before: int


def tile_rows(window: int) -> int:
    """Queries of a tile: few waste little on what sticks out of the window, many make efficient products."""
    return min(max(window // 4, 32), 128)


def add_windowed(
    out: Float[Tensor, "N L D"],
    q: Float[Tensor, "N L D"],
    k: Float[Tensor, "N L D"],
    v: Float[Tensor, "N L D"],
    gate: Float[Tensor, "N L 1"],
    window: int,
    *,
    rows: int,
    until: int,
) -> None:
    """Add ``gate`` times the attention to the last ``window`` events.

    Args:
        out: is added to; like all of these, contiguous.
        q: (N, L, D).
        k: (N, L, D).
        v: (N, L, D).
        gate: (N, L, 1).
        window: events that a query sees, its own included.
        rows: queries of a tile.
        until: only queries before this position.
    """
    for run in _runs(q, window, rows, until):
        at = (run.first, run.step, run.tiles, run.rows)
        seen = (run.first - run.before, run.step, run.tiles, run.before + run.rows)
        o = attend(tiles(q, *at), tiles(k, *seen), tiles(v, *seen), _hidden(run, window, q))
        tiles(out, *at).addcmul_(o, tiles(gate, *at))


def add_windowed_backward(
    grad: Float[Tensor, "N L D"],
    q: Float[Tensor, "N L D"],
    k: Float[Tensor, "N L D"],
    v: Float[Tensor, "N L D"],
    gate: Float[Tensor, "N L 1"],
    into: tuple[
        Float[Tensor, "N L D"], Float[Tensor, "N L D"], Float[Tensor, "N L D"], Float[Tensor, "N L 1"]
    ],
    window: int,
    *,
    rows: int,
    until: int,
) -> None:
    """Add the gradients of what `add_windowed` adds to those of q, k, v and gate, which ``into`` holds."""
    into_q, into_k, into_v, into_gate = into
    for run in _runs(q, window, rows, until):
        at = (run.first, run.step, run.tiles, run.rows)
        seen = (run.first - run.before, run.step, run.tiles, run.before + run.rows)
        grad_q, grad_k, grad_v, grad_gate, _ = attend_backward(
            tiles(grad, *at),
            tiles(q, *at),
            tiles(k, *seen),
            tiles(v, *seen),
            _hidden(run, window, q),
            tiles(gate, *at),
        )
        tiles(into_q, *at).add_(grad_q)
        tiles(into_gate, *at).add_(grad_gate)
        # keys of neighbouring tiles overlap: a piece of each at a time, no longer than the step
        for start, length in spans(run.before + run.rows, min(run.step, run.before + run.rows)):
            piece = (run.first - run.before + start, run.step, run.tiles, length)
            tiles(into_k, *piece).add_(grad_k[:, start : start + length])
            tiles(into_v, *piece).add_(grad_v[:, start : start + length])


def _runs(q: Float[Tensor, "N L D"], window: int, rows: int, until: int) -> Iterator[_Run]:
    """The tiles of all histories, in runs whose scores fit."""
    for run in _whole_runs(q.shape[0], q.shape[1], window, rows, until):
        for start, count in spans(run.tiles, MAX_SCORES // (run.rows * (run.before + run.rows))):
            yield run._replace(first=run.first + start * run.step, tiles=count)


def _whole_runs(N: int, L: int, window: int, rows: int, until: int) -> Iterator[_Run]:
    reach = -(-(window - 1) // rows)
    full = until // rows
    # along a history the tiles are `rows` apart, across histories L: the longer run is the better one
    along = full - reach > N
    across = reach if along else full
    for tile in range(across):
        yield _Run(tile * rows, L, N, rows, min(tile, reach) * rows)
    if along:
        for n in range(N):
            yield _Run(n * L + reach * rows, rows, full - reach, rows, reach * rows)
    if until % rows:
        yield _Run(full * rows, L, N, until % rows, min(full, reach) * rows)


def _hidden(run: _Run, window: int, like: Tensor) -> Float[Tensor, "Q S"]:
    key = torch.arange(run.before + run.rows, device=like.device)
    return hidden_where_not(in_window(key[run.before :, None], key, window), like)
