"""The native form as torch sees it: one custom operator with its fake and autograd parts.

The kernel is C++ for float32 on the processor, forward and backward, all branches and gates in one pass.
``fuserec build-native`` compiles it; the wheel has only its source.

Shape legend
    B  histories   H  heads   L  positions   D  width   T  positions of all packed histories   M  columns of a bias
    G  groups of all histories   X  blocks that a group chooses
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from fuserec.errors import ConfigError
from fuserec.ops.attention.native.call import best_instruction_set, built, call
from fuserec.ops.attention.pattern import BRANCHES, Branch, Pattern
from fuserec.ops.attention.precision import refuse_second_derivatives
from fuserec.ops.attention.summaries import Summaries

__all__ = ["best_instruction_set", "built", "run"]

_TILE = 64
"""The block in which the windowed branch alone is computed, where no other branch asks for one."""

# Written out: read from annotations they would not survive a hook that checks those.
_TENSORS = (
    "Tensor q, Tensor k, Tensor v, Tensor? gates, Tensor? block_query, Tensor? block_key, Tensor? block_value, "
    "Tensor? block_bias, Tensor? lengths, Tensor? offsets"
)
_SETTINGS = "int branches, int window, int block, int selected, int group, str instruction_set"
_INPUTS = ("q", "k", "v", "gates", "block_query", "block_key", "block_value", "bias")


def run(
    branch: Branch,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Tensor | None,
    pattern: Pattern,
    summaries: Summaries,
    *,
    lengths: Tensor | None = None,
    offsets: Tensor | None = None,
    instruction_set: str = "",
) -> Tensor:
    """One branch, or all three by gate; arguments as `multi_granularity` has checked them.

    Args:
        branch: what to compute.
        q: (B, H, L, D), or packed (T, H, D) with ``offsets``.
        k: as ``q``.
        v: as ``q``.
        gates: (B, L, H, 3) or (T, H, 3); None for a single branch.
        pattern: how far each branch sees.
        summaries: what the block-level branch reads.
        lengths: (B,), None when all have L.
        offsets: (B + 1,) of packed histories.
        instruction_set: "avx512", "avx2" or "plain"; "" for the best that the processor has.

    Raises:
        ConfigError: not float32, not on the processor, or the kernel is not compiled.
    """
    if q.device.type != "cpu" or q.dtype != torch.float32:
        raise ConfigError(
            f"the native form expects float32 on cpu, got {q.dtype} on {q.device.type}; use implementation='blocked'"
        )
    out: Tensor = _attention(
        q,
        k,
        v,
        gates,
        summaries.query,
        summaries.key,
        summaries.value,
        summaries.bias,
        _on_cpu(lengths),
        _on_cpu(offsets),
        sum(has << bit for bit, has in enumerate(BRANCHES[branch])),
        pattern.window,
        *((_TILE, 0, _TILE) if branch == "windowed" else (pattern.block, pattern.selected, pattern.group)),
        instruction_set,
    )[0]
    return out


class _Arguments(NamedTuple):
    """What both operators are given, in the order of the schema."""

    q: Tensor
    k: Tensor
    v: Tensor
    gates: Tensor | None
    block_query: Tensor | None
    block_key: Tensor | None
    block_value: Tensor | None
    block_bias: Tensor | None
    lengths: Tensor | None
    offsets: Tensor | None
    branches: int
    window: int
    block: int
    selected: int
    group: int
    instruction_set: str

    def inputs(self) -> dict[str, Tensor | None]:
        """The tensors that have gradients, by the library's names, each with rows in one piece."""
        rows = (self.q, self.k, self.v, self.gates, self.block_query, self.block_key, self.block_value)
        bias = None if self.block_bias is None else self.block_bias.contiguous()
        return dict(zip(_INPUTS, (*map(_rows, rows), bias), strict=True))

    def call(self, tensors: dict[str, Tensor | None], *, backward: bool) -> None:
        call(
            tensors,
            pattern=Pattern(window=self.window, block=self.block, selected=self.selected, group=self.group),
            branches=self.branches,
            lengths=_lengths(self.q, self.lengths, self.offsets),
            offsets=self.offsets,
            instruction_set=self.instruction_set,
            backward=backward,
        )

    def outputs(self) -> tuple[Tensor, Tensor, Tensor]:
        return _empty(self.q, self.offsets, selected=self.selected, group=self.group)


@torch.library.custom_op(
    "fuserec::sparse_attention",
    mutates_args=(),
    schema=f"({_TENSORS}, {_SETTINGS}) -> (Tensor, Tensor, Tensor)",
)
def _attention(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Output; largest logit and one over the sum, of every row and branch; choice."""
    it = _Arguments(*arguments)
    out, softmax, choice = it.outputs()
    it.call(it.inputs() | {"out": out, "softmax": softmax, "choice": choice}, backward=False)
    return out, softmax, choice


@_attention.register_fake
def _(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _Arguments(*arguments).outputs()


@torch.library.custom_op(
    "fuserec::sparse_attention_backward",
    mutates_args=(),
    schema=f"(Tensor d_out, Tensor softmax, Tensor choice, {_TENSORS}, {_SETTINGS}) -> Tensor[]",
)
def _attention_backward(d_out: Tensor, softmax: Tensor, choice: Tensor, *arguments: Any) -> list[Tensor]:
    """Gradients of q, k, v and of those of the other five that are given."""
    it = _Arguments(*arguments)
    inputs = it.inputs()
    gradients = {f"d_{name}": None if x is None else _like(x) for name, x in inputs.items()}
    if it.block_bias is not None:  # of each history its own, so that threads share none
        histories = len(_lengths(it.q, it.lengths, it.offsets))
        gradients["d_bias"] = d_bias = it.q.new_empty((histories, *it.block_bias.shape))
    saved = {"softmax": softmax, "choice": choice, "d_out": _rows(d_out)}
    it.call(inputs | gradients | saved, backward=True)
    if it.block_bias is not None:
        gradients["d_bias"] = d_bias.sum(0)
    return [x for x in gradients.values() if x is not None]


@_attention_backward.register_fake
def _(*given: Any) -> list[Tensor]:
    return [_like(x) for x in given[3 : 3 + len(_INPUTS)] if x is not None]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, ctx.branches, ctx.window, ctx.block, ctx.selected, ctx.group, ctx.instruction_set = inputs
    _, softmax, choice = output
    ctx.mark_non_differentiable(softmax, choice)
    ctx.save_for_backward(softmax, choice, *tensors)


def _backward(ctx: Any, d_out: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    refuse_second_derivatives("native")
    softmax, choice, *tensors = ctx.saved_tensors
    settings = (ctx.branches, ctx.window, ctx.block, ctx.selected, ctx.group, ctx.instruction_set)
    gradients = iter(_attention_backward(d_out, softmax, choice, *tensors, *settings))
    given = tensors[: len(_INPUTS)]
    return (*(None if x is None else next(gradients) for x in given), *[None] * (2 + len(settings)))


_attention.register_autograd(_backward, setup_context=_keep)


def _empty(q: Tensor, offsets: Tensor | None, *, selected: int, group: int) -> tuple[Tensor, Tensor, Tensor]:
    """Room for what the kernel writes."""
    if offsets is None:
        groups = q.shape[0] * -(-q.shape[2] // group)  # sizes may be symbols here
    else:
        groups = q.shape[0] // group + offsets.shape[0]  # a history has at most one group that is not full
    return (
        _like(q),
        q.new_empty((*q.shape[:-1], 6)),
        q.new_full((groups, selected), -1, dtype=torch.int32),
    )


def _like(x: Tensor) -> Tensor:
    """Room that lies as x does, so that heads are joined again without a copy, but with rows in one piece."""
    room = torch.empty_like(x)
    return room if room.stride(-1) == 1 or room.shape[-1] == 1 else x.new_empty(x.shape)


def _rows(x: Tensor | None) -> Tensor | None:
    """The same with rows that lie in one piece each."""
    return x if x is None or x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()


def _lengths(q: Tensor, lengths: Tensor | None, offsets: Tensor | None) -> Tensor:
    if offsets is not None:
        return offsets.diff()
    return torch.full((q.shape[0],), q.shape[2]) if lengths is None else lengths


def _on_cpu(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.to(device="cpu", dtype=torch.int64).contiguous()
