"""Multi-granularity sparse attention in plain PyTorch, fast: memory linear in the history, any device.

Every branch goes over tiles: products of a few queries with just the keys that they need, small enough for a cache. Backward
makes the weights again: kept are the inputs, laid out in whole blocks, the summaries and the choice. The gates cost no pass
of their own. What fills the last block up stands behind the end, and is seen by nobody.

Source: MUFASA (arXiv 2508.09664), sparse attention-guided alignment; rules as docs/papers/mufasa.md states them.

Shape legend
    B  histories   H  heads   N  both   L  positions   C  blocks   G  groups   X  choices   D  width   M  distances
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fuserec.ops.attention.blocked.blockwise import add_blockwise, add_blockwise_backward
from fuserec.ops.attention.blocked.choice import choose
from fuserec.ops.attention.blocked.selective import add_selective, add_selective_backward
from fuserec.ops.attention.blocked.windowed import add_windowed, add_windowed_backward, tile_rows
from fuserec.ops.attention.pattern import BRANCHES, Branch, Pattern
from fuserec.ops.attention.precision import as_given, refuse_second_derivatives
from fuserec.ops.attention.summaries import Summaries, block_means
from fuserec.ops.attention.visibility import num_blocks
from fuserec.shapes import Float

__all__ = ["run"]


def run(
    branch: Branch,
    q: Float[Tensor, "B H L D"],
    k: Float[Tensor, "B H L D"],
    v: Float[Tensor, "B H L D"],
    gates: Float[Tensor, "B L H 3"] | None,
    pattern: Pattern,
    summaries: Summaries,
) -> Float[Tensor, "B H L D"]:
    """What `fuserec.ops.attention.reference.run` gives."""
    if gates is None:
        gates = q.new_ones(()).expand(q.shape[0], q.shape[2], q.shape[1], 3)
    given = (summaries.query, summaries.key, summaries.value, summaries.bias)
    out: Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
        BRANCHES[branch], pattern, q, k, v, gates, *given
    )
    return out


class _Attention(torch.autograd.Function):
    """The gated sum of branches; of the choice of blocks there is no gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        branches: tuple[bool, bool, bool],
        pattern: Pattern,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        gates: Tensor,
        query: Tensor | None,
        key: Tensor | None,
        value: Tensor | None,
        bias: Tensor | None,
    ) -> Tensor:
        B, H, L, _ = q.shape
        block, C = pattern.block, num_blocks(L, pattern.block)
        selected = min(pattern.selected, C)
        ctx.branches, ctx.pattern, ctx.lengths = branches, pattern, (B, H, L)
        ctx.defaults = tuple(x is None for x in (query, key, value, bias))

        _, reads_values, chooses = branches
        if key is None and (reads_values or chooses):
            key = block_means(k, block)
        if value is None and reads_values:
            value = block_means(v, block)
        q, k, v = (_filled(x, block) for x in (q, k, v))
        query = q if query is None else _filled(query, block)
        choice_BGX = None
        if chooses:
            assert key is not None
            choice_BGX = choose(
                query.unflatten(0, (B, H)), key, bias, block=block, selected=selected, group=pattern.group
            )
        key, value = (None if x is None else x.flatten(0, 1).contiguous() for x in (key, value))
        bias = q.new_zeros(1, max(C - 1, 1)) if bias is None else bias
        gates_3NL1 = _gates_filled(gates, block)
        ctx.save_for_backward(q, k, v, gates_3NL1, query, key, value, bias, choice_BGX)

        out_BHLD = q.new_zeros(B, H, *q.shape[1:])
        out_NLD = out_BHLD.view_as(q)
        if branches[0]:
            rows = tile_rows(pattern.window)
            add_windowed(out_NLD, q, k, v, gates_3NL1[0], pattern.window, rows=rows, until=L)
        if reads_values:
            assert key is not None
            assert value is not None
            add_blockwise(out_NLD, query, key, value, bias, gates_3NL1[1], block=block)
        if choice_BGX is not None:
            add_selective(
                out_NLD,
                q,
                k,
                v,
                gates_3NL1[2],
                choice_BGX,
                block=block,
                selected=selected,
                group=pattern.group,
            )
        # not a view, which nobody may change in place
        return out_BHLD if q.shape[1] == L else out_BHLD[:, :, :L].contiguous()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives("blocked")
        with as_given(grad.device):
            return _gradients(ctx, grad)


def _gradients(ctx: Any, grad: Float[Tensor, "B H L D"]) -> tuple[Tensor | None, ...]:
    """Of every argument of `_Attention.forward`."""
    q, k, v, gates_3NL1, query, key, value, bias, choice_BGX = ctx.saved_tensors
    pattern, (B, H, L) = ctx.pattern, ctx.lengths
    block, C = pattern.block, num_blocks(L, pattern.block)
    grad = _filled(grad, block)
    into_q, into_k, into_v, into_gates = (torch.zeros_like(x) for x in (q, k, v, gates_3NL1))
    default_query, default_key, default_value, default_bias = ctx.defaults
    into_query = into_q if default_query else torch.zeros_like(query)
    into_key, into_value = (None if x is None else torch.zeros_like(x) for x in (key, value))
    into_bias = None if default_bias else torch.zeros_like(bias)

    if ctx.branches[0]:
        into = (into_q, into_k, into_v, into_gates[0])
        rows = tile_rows(pattern.window)
        add_windowed_backward(grad, q, k, v, gates_3NL1[0], into, pattern.window, rows=rows, until=L)
    if ctx.branches[1]:
        assert into_key is not None
        assert into_value is not None
        into_blocks = (into_query, into_key, into_value, into_bias, into_gates[1])
        add_blockwise_backward(grad, query, key, value, bias, gates_3NL1[1], into_blocks, block=block)
    if choice_BGX is not None:
        into = (into_q, into_k, into_v, into_gates[2])
        add_selective_backward(
            grad,
            q,
            k,
            v,
            gates_3NL1[2],
            choice_BGX,
            into,
            block=block,
            selected=min(pattern.selected, C),
            group=pattern.group,
        )
    # the last block has no gradient: nobody sees its mean
    for is_default, into_x, into_mean in (
        (default_key, into_k, into_key),
        (default_value, into_v, into_value),
    ):
        if is_default and into_mean is not None:
            into_x.unflatten(1, (C, block)).add_(into_mean[:, :, None], alpha=1 / block)

    return (
        None,
        None,
        _cut(into_q, B, H, L),
        _cut(into_k, B, H, L),
        _cut(into_v, B, H, L),
        into_gates[:, :, :L, 0].unflatten(1, (B, H)).permute(1, 3, 2, 0),
        None if default_query else _cut(into_query, B, H, L),
        *(
            None if is_default or into_x is None else into_x.unflatten(0, (B, H))
            for is_default, into_x in ((default_key, into_key), (default_value, into_value))
        ),
        into_bias,
    )


def _filled(x: Float[Tensor, "B H L D"], block: int) -> Float[Tensor, "N filled D"]:
    """Contiguous, and zeros up to a whole block."""
    missing = -x.shape[2] % block
    return (F.pad(x, (0, 0, 0, missing)) if missing else x).flatten(0, 1).contiguous()


def _cut(x: Float[Tensor, "N filled D"], B: int, H: int, L: int) -> Float[Tensor, "B H L D"]:
    return x[:, :L].view(B, H, L, x.shape[-1])


def _gates_filled(gates: Float[Tensor, "B L H 3"], block: int) -> Float[Tensor, "3 N filled 1"]:
    gates_3BHL = gates.permute(3, 0, 2, 1)
    return F.pad(gates_3BHL, (0, -gates.shape[1] % block)).flatten(1, 2)[..., None].contiguous()
