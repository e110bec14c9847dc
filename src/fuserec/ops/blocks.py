"""Blocks of neighbouring events in packed histories: where they lie, and what they add up to.

Shape legend
    T  packed events   B  histories   C  blocks of all histories   S  slots, C times the most events of a block
    H  heads   D  width
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx

from fuserec.errors import ConfigError
from fuserec.ops.borders import fixed_borders
from fuserec.shapes import Bool, Float, Int

__all__ = [
    "Blocks",
    "block_means",
    "block_means_reference",
    "block_softmax",
    "block_softmax_reference",
    "block_sums",
    "of_block",
    "of_block_before",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """The blocks of packed histories, one history after the other.

    Attributes:
        size: most events of a block.
        fixed: every block but a history's last has that many.
        number: (T,) the block of each event, counted over all histories.
        starts: (C + 1,) the first event of each block, and T.
        offsets: (B + 1,) the first block of each history, and C.
    """

    size: int
    fixed: bool
    number: Int[Tensor, " T"]
    starts: Int[Tensor, " C_plus_1"]
    offsets: Int[Tensor, " B_plus_1"]

    @classmethod
    def every(cls, offsets: Int[Tensor, " B_plus_1"], *, block: int) -> Blocks:
        """A border every ``block`` events, from the start of each history.

        Example:
            >>> Blocks.every(torch.tensor([0, 3, 4]), block=2).starts.tolist()
            [0, 2, 3, 4]
        """
        return _laid_out(fixed_borders(offsets, block=block), offsets, block, fixed=True)

    @classmethod
    def at(cls, begins: Bool[Tensor, " T"], offsets: Int[Tensor, " B_plus_1"], *, block: int) -> Blocks:
        """A border before every event where ``begins`` is True.

        Args:
            begins: (T,) of `fuserec.ops.borders`.
            offsets: (B + 1,) where each history begins, and T.
            block: most events of a block.

        Raises:
            ConfigError: a history begins without a border, or a block has too many events.
        """
        found = _laid_out(begins, offsets, block, fixed=False)
        # of an empty history at the end there is no first event
        first = offsets[:-1][offsets.diff() > 0]
        if not bool(begins[first].all()):
            raise ConfigError(
                "expected a border before the first event of every history, got none before one"
            )
        most = int(found.counts.max()) if len(found) else 0
        if most > block:
            raise ConfigError(
                f"expected at most {block} events in a block, got {most}; borders must know block"
            )
        return found

    def __len__(self) -> int:
        """C."""
        return len(self.starts) - 1

    @property
    def counts(self) -> Int[Tensor, " C"]:
        """(C,) events of each block."""
        return self.starts.diff()

    @property
    def slots(self) -> Int[Tensor, " T"]:
        """(T,) the place of each event where every block takes ``size`` places."""
        within_T = torch.arange(len(self.number), device=self.number.device) - self.starts[self.number]
        return self.number * self.size + within_T

    @property
    def longest(self) -> int:
        """Blocks of the history that has most."""
        return int(self.offsets.diff().max()) if len(self.offsets) > 1 else 0

    @property
    def first(self) -> Int[Tensor, " _"]:
        """The first block of every history that has one."""
        return self.offsets[:-1][self.offsets.diff() > 0]


def of_block(x: Float[Tensor, "C D"], blocks: Blocks) -> Float[Tensor, "T D"]:
    """Every event gets the row of its block."""
    rows_TD: Tensor = _OfBlock.apply(x, blocks.number, blocks.starts)  # type: ignore[no-untyped-call]
    return rows_TD


def of_block_before(x: Float[Tensor, "C D"], blocks: Blocks) -> Float[Tensor, "T D"]:
    """Every event gets the row of the block before its own, 0 in the first block of a history."""
    before_CD = F.pad(x, (0, 0, 1, 0))[:-1].index_fill(0, blocks.first, 0)
    return of_block(before_CD, blocks)


def block_sums(x: Float[Tensor, "T D"], blocks: Blocks) -> Float[Tensor, "C D"]:
    """The sum of the events of each block."""
    sums_CD: Tensor = _Sums.apply(x, blocks.number, blocks.starts)  # type: ignore[no-untyped-call]
    return sums_CD


def block_means(
    x: Float[Tensor, "T ..."], blocks: Blocks, weights: Float[Tensor, "T H"] | None = None
) -> Float[Tensor, "C ..."]:
    """The mean of the events of each block, or their sum times weights.

    Args:
        x: (T, D), or (T, H, D) with weights.
        blocks: of the T events.
        weights: (T, H), of sum 1 in each block, as `block_softmax` gives them; None for equal ones.
    """
    weighed = x if weights is None else x * weights[..., None]
    sums_CR = block_sums(weighed.flatten(1), blocks)
    means_CR = sums_CR / blocks.counts[:, None] if weights is None else sums_CR
    return means_CR.view(len(blocks), *x.shape[1:])


def block_means_reference(
    x: Float[Tensor, "T ..."], blocks: Blocks, weights: Float[Tensor, "T H"] | None = None
) -> Float[Tensor, "C ..."]:
    """`block_means`, block by block."""
    rows = [x.new_zeros(0, *x.shape[1:])]
    for begin, end in zip(blocks.starts[:-1].tolist(), blocks.starts[1:].tolist(), strict=True):
        part = x[begin:end]
        rows.append(
            part.mean(0, keepdim=True)
            if weights is None
            else (part * weights[begin:end, :, None]).sum(0, keepdim=True)
        )
    return torch.cat(rows)


def block_softmax(scores: Float[Tensor, "T H"], blocks: Blocks) -> Float[Tensor, "T H"]:
    """The softmax of scores over the events of each block."""
    slots_T = blocks.slots
    slots_SH = scores.new_full((len(blocks) * blocks.size, scores.shape[1]), -torch.inf)
    laid_out: Tensor = slots_SH.index_copy(0, slots_T, scores).unflatten(0, (len(blocks), blocks.size))
    return laid_out.softmax(1).flatten(0, 1).index_select(0, slots_T)


def block_softmax_reference(scores: Float[Tensor, "T H"], blocks: Blocks) -> Float[Tensor, "T H"]:
    """`block_softmax`, block by block."""
    pairs = zip(blocks.starts[:-1].tolist(), blocks.starts[1:].tolist(), strict=True)
    return torch.cat([scores[:0], *(scores[begin:end].softmax(0) for begin, end in pairs)])


def _laid_out(
    begins_T: Bool[Tensor, " T"], offsets: Int[Tensor, " B_plus_1"], block: int, *, fixed: bool
) -> Blocks:
    begun_T1 = F.pad(begins_T.cumsum(0), (1, 0))
    return Blocks(
        size=block,
        fixed=fixed,
        number=begun_T1[1:] - 1,
        starts=F.pad(begins_T.nonzero().flatten(), (0, 1), value=len(begins_T)),
        offsets=begun_T1[offsets.long()],
    )


class _Sums(torch.autograd.Function):
    """Events of a block stand side by side, so bags of rows add them up in one pass."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, number_T: Tensor, starts: Tensor) -> Tensor:
        ctx.save_for_backward(number_T, starts)
        at_T = torch.arange(len(x), device=x.device)
        return F.embedding_bag(at_T, x.contiguous(), starts, mode="sum", include_last_offset=True)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _OfBlock.apply(gradient, *ctx.saved_tensors), None, None  # type: ignore[attr-defined, no-untyped-call]


class _OfBlock(torch.autograd.Function):
    """The transpose of `_Sums`."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, number_T: Tensor, starts: Tensor) -> Tensor:
        ctx.save_for_backward(number_T, starts)
        return x.index_select(0, number_T)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _Sums.apply(gradient, *ctx.saved_tensors), None, None  # type: ignore[attr-defined, no-untyped-call]
