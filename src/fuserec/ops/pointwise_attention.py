"""Attention without a softmax: each product of a query and a key goes through SiLU on its own.

"Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative Recommendations", J. Zhai et
al. ICML 2024, arXiv 2402.17152, Eq. (2). What a query reads does not sum to 1, so how often something was seen counts.

Shape legend
    T  packed rows   B  histories   H  heads   D  width of a head   L  positions   M  distances
    R  queries of a tile   S  keys of a tile   G  histories of a tile
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from fuserec.errors import ConfigError
from fuserec.ops.attention.ragged import in_buckets
from fuserec.ops.attention.summaries import Summaries
from fuserec.ops.rotary import positions
from fuserec.shapes import Float, Int

__all__ = ["pointwise_attention", "pointwise_attention_reference"]

QUERIES = 128
"""Neighbouring queries of a tile; keys behind the last of them are not computed."""

TILE = 2**17
"""Products of a tile, where one history has no more: 512 KiB of float32, which stay in the processor's cache."""

UNSEEN = -1e30
"""Added to the product with a later key: SiLU of it and its derivative are exactly 0."""


def pointwise_attention(
    q: Float[Tensor, "T H D"],
    k: Float[Tensor, "T H D"],
    v: Float[Tensor, "T H D"],
    bias: Float[Tensor, "H M"],
    *,
    offsets: Int[Tensor, " B_plus_1"],
) -> Float[Tensor, "T H D"]:
    """o_t = 1 / (t + 1) sum over s <= t of SiLU(<q_t, k_s> + b[t - s]) v_s in every packed history.

    Source: HSTU Eq. (2), causal; products are not divided by sqrt(D). The paper's program divides the sum by the
    longest length there may be, which whole histories do not have; here it is divided by the events that the query sees.

    Memory is linear in T: a few tiles of `TILE` products, or of `QUERIES` times the longest history, stand at a time, and
    backward computes them anew.

    Args:
        q: (T, H, D) queries.
        k: keys, as ``q``.
        v: values, as ``q``.
        bias: (H, M) by distance; M at least as large as the longest history.
        offsets: (B + 1,) where each packed history begins, and T.

    Returns:
        As ``q``.

    Raises:
        ConfigError: the longest history has more than M events.

    Example:
        >>> one, bias = torch.ones(2, 1, 1), torch.tensor([[-1.0, 29.0]])  # SiLU(0) = 0 and SiLU(30) is about 30
        >>> pointwise_attention(one, one, one, bias, offsets=torch.tensor([0, 2])).flatten().tolist()
        [0.0, 15.0]
    """
    _check(bias, offsets)

    def run(q: Tensor, k: Tensor, v: Tensor, gates: Tensor | None, summaries: Summaries) -> Tensor:  # noqa: ARG001
        out_BHLD: Tensor = _Pointwise.apply(q, k, v, bias)  # type: ignore[no-untyped-call]
        return out_BHLD

    total_THD = in_buckets(run, q, k, v, None, Summaries(), offsets, block=1)
    return total_THD / (positions(offsets) + 1)[:, None, None]


def pointwise_attention_reference(
    q: Float[Tensor, "T H D"],
    k: Float[Tensor, "T H D"],
    v: Float[Tensor, "T H D"],
    bias: Float[Tensor, "H M"],
    *,
    offsets: Int[Tensor, " B_plus_1"],
) -> Float[Tensor, "T H D"]:
    """`pointwise_attention`, literally: one history after the other."""
    _check(bias, offsets)
    outputs = [q[:0]]
    for begin, end in pairwise(offsets.tolist()):
        place_L = torch.arange(end - begin, device=q.device)
        distance_LL = place_L[:, None] - place_L
        products_HLL = torch.einsum("thd,shd->hts", q[begin:end], k[begin:end])
        weights_HLL = F.silu(products_HLL + bias[:, distance_LL.clamp_min(0)]) * (distance_LL >= 0)
        total_LHD = torch.einsum("hts,shd->thd", weights_HLL, v[begin:end])
        outputs.append(total_LHD / (place_L + 1)[:, None, None])
    return torch.cat(outputs)


def _check(bias: Tensor, offsets: Tensor) -> None:
    longest = int(offsets.diff().max()) if len(offsets) > 1 else 0
    if longest > bias.shape[1]:
        raise ConfigError(
            f"expected a bias for each distance in a history of {longest} events, got {bias.shape[1]}"
        )


class _Pointwise(torch.autograd.Function):
    """Histories of one length, tile by tile. Nothing of size L x L is kept; backward computes the products anew."""

    @staticmethod
    def forward(ctx: FunctionCtx, q: Tensor, k: Tensor, v: Tensor, bias_HM: Tensor) -> Tensor:
        q, k, v = (x.transpose(0, 1).contiguous() for x in (q, k, v))  # (H, B, L, D)
        ctx.save_for_backward(q, k, v, bias_HM)
        out_HBLD = torch.empty_like(q)
        for head, queries, keys, bias_RS in _tiles(q, bias_HM):
            for histories in _histories(q, bias_RS):
                at, seen = (head, histories, queries), (head, histories, keys)
                weights_GRS = F.silu(torch.baddbmm(bias_RS, q[at], k[seen].mT), inplace=True)
                out_HBLD[at] = weights_GRS @ v[seen]
        return out_HBLD.transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        q, k, v, bias_HM = ctx.saved_tensors  # type: ignore[attr-defined]
        gradient = gradient.transpose(0, 1).contiguous()
        of_q, of_k, of_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        of_bias = torch.zeros_like(bias_HM)
        for head, queries, keys, bias_RS in _tiles(q, bias_HM):
            total_RS = torch.zeros_like(bias_RS)
            for histories in _histories(q, bias_RS):
                at, seen = (head, histories, queries), (head, histories, keys)
                products_GRS = torch.baddbmm(bias_RS, q[at], k[seen].mT)
                of_products_GRS = torch.ops.aten.silu_backward(gradient[at] @ v[seen].mT, products_GRS)
                weights_GRS = F.silu(products_GRS, inplace=True)
                of_v[seen].baddbmm_(weights_GRS.mT, gradient[at])
                of_q[at] = of_products_GRS @ k[seen]
                of_k[seen].baddbmm_(of_products_GRS.mT, q[at])
                total_RS += of_products_GRS.sum(0)
            sums = _diagonal_sums(total_RS)
            of_bias[head, : len(sums)] += sums
        return of_q.transpose(0, 1), of_k.transpose(0, 1), of_v.transpose(0, 1), of_bias


def _tiles(q_HBLD: Tensor, bias_HM: Tensor) -> Iterator[tuple[int, slice, slice, Tensor]]:
    """Head, queries, keys up to the last of the queries, and what is added to their products."""
    heads, _, length, _ = q_HBLD.shape
    for start in range(0, length, QUERIES):
        stop = min(start + QUERIES, length)
        for head in range(heads):
            yield head, slice(start, stop), slice(0, stop), _by_place(bias_HM[head], start, stop)


def _histories(q_HBLD: Tensor, bias_RS: Tensor) -> Iterator[slice]:
    """As many histories at a time as `TILE` allows."""
    count = max(1, TILE // bias_RS.numel())
    for start in range(0, q_HBLD.shape[1], count):
        yield slice(start, start + count)


def _by_place(bias_M: Tensor, start: int, stop: int) -> Tensor:
    """(stop - start, stop): row r is for query start + r, column s for key s; `UNSEEN` for later keys."""
    later = bias_M.new_full((stop - start - 1,), UNSEEN)
    # by falling distance: each row is the one below it, moved by one
    falling = torch.cat([bias_M[:stop].flip(0), later])
    return falling.unfold(0, stop, 1).flip(0).contiguous()


def _diagonal_sums(of_place_RS: Tensor) -> Tensor:
    """(S,) sum over the places at each distance: what `_by_place` spread, gathered."""
    rows, keys = of_place_RS.shape
    # falling keys beside ``rows`` zeros, read in rows that are one shorter: a distance becomes a column
    falling = F.pad(of_place_RS.flip(1), (0, rows)).flatten()[: rows * (keys + rows - 1)]
    return falling.view(rows, keys + rows - 1).sum(0)[rows - 1 : rows - 1 + keys]
