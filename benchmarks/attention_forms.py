"""The forms that benchmarks/attention.py measures: ours, dense attention, and the plain forms of other recommenders.

All get the same queries, keys, values and upstream gradient, and leave nothing out but what is said here: masks are made
before the clock starts, and weights of projections have no gradient. Both favour the plain forms.

Shape legend
    B  sequences   H  heads   L  positions   D  width
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from fuserec.ops.attention.dispatch import Implementation, multi_granularity
from fuserec.shapes import Float

__all__ = ["BLOCK", "DIM", "HEADS", "PLAIN", "SELECTED", "WINDOW", "Inputs", "Step", "keys_seen", "prepared"]

HEADS, DIM = 2, 64
WINDOW, BLOCK, SELECTED = 128, 32, 4
PLAIN = ("matmul_mask_softmax", "multihead_attention")
"""Forms with a mask of L x L, as other recommenders have them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What every form gets.

    Attributes:
        q: queries that ask for a gradient, as do the next three.
        k: keys.
        v: values.
        gates: of the three branches.
        upstream: the gradient of the output.
    """

    q: Float[Tensor, "B H L D"]
    k: Float[Tensor, "B H L D"]
    v: Float[Tensor, "B H L D"]
    gates: Float[Tensor, "B L H 3"]
    upstream: Float[Tensor, "B H L D"]

    @classmethod
    def drawn(cls, sequences: int, length: int, *, heads_first: bool = True) -> Inputs:
        """Normal numbers, gates between 0 and 1.

        Args:
            sequences: B.
            length: L.
            heads_first: in memory; otherwise a position's heads lie together.
        """
        generator = torch.Generator().manual_seed(0)
        size = (HEADS, length) if heads_first else (length, HEADS)
        rows = torch.randn(4, sequences, *size, DIM, generator=generator)
        q, k, v, upstream = rows if heads_first else rows.transpose(2, 3)
        gates = torch.rand(sequences, length, HEADS, 3, generator=generator)
        q, k, v, gates = (x.detach().requires_grad_() for x in (q, k, v, gates))
        return cls(q=q, k=k, v=v, gates=gates, upstream=upstream)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One form with its inputs, ready to run.

    Attributes:
        attend: the output.
        inputs: what it has gradients of.
        upstream: the gradient of the output, in its shape.
    """

    attend: Callable[[], Tensor]
    inputs: tuple[Tensor, ...]
    upstream: Tensor

    @torch.no_grad()
    def forward(self) -> None:
        """The output, without anything kept for gradients."""
        self.attend()

    def forward_and_backward(self) -> None:
        """The output, and the gradients of all inputs."""
        torch.autograd.grad(self.attend(), self.inputs, self.upstream)


def prepared(form: str, x: Inputs, *, block: int = BLOCK) -> Step:
    """A form by its name.

    Args:
        form: "dense", "native", "blocked", either of these with "_group_8" behind it, or one of `PLAIN`.
        x: what it gets.
        block: events in a block, of our forms.
    """
    if form == "dense":
        return _dense(x)
    if form == "matmul_mask_softmax":
        return _matmul_mask_softmax(x)
    if form == "multihead_attention":
        return _multihead_attention(x)
    implementation, _, group = form.partition("_group_")
    return _sparse(x, implementation, block=block, group=int(group or block))  # type: ignore[arg-type]


def keys_seen(length: int, *, window: int = WINDOW, block: int = BLOCK) -> int:
    """Keys that the queries of one history see, all three branches and all queries together."""
    t = torch.arange(length)
    own, earlier = t % block + 1, t // block
    seen = (t + 1).clamp(max=window) + earlier + earlier.clamp(max=SELECTED) * block + own
    return int(seen.sum())


def _sparse(x: Inputs, implementation: Implementation, *, block: int, group: int) -> Step:
    def attend() -> Tensor:
        return multi_granularity(
            x.q,
            x.k,
            x.v,
            x.gates,
            window=WINDOW,
            block=block,
            selected=SELECTED,
            group=group,
            implementation=implementation,
        )

    return Step(attend=attend, inputs=(x.q, x.k, x.v, x.gates), upstream=x.upstream)


def _dense(x: Inputs) -> Step:
    """What torch does best: no mask in memory, the half above the diagonal skipped."""
    return Step(
        attend=lambda: scaled_dot_product_attention(x.q, x.k, x.v, is_causal=True),
        inputs=(x.q, x.k, x.v),
        upstream=x.upstream,
    )


def _matmul_mask_softmax(x: Inputs) -> Step:
    """Scores in full, an additive mask for each sequence, softmax, values: the form of RecBole's transformer."""
    sequences, _, length, _ = x.q.shape
    mask = torch.zeros(sequences, 1, length, length).masked_fill_(_later(length), -10_000.0)

    def attend() -> Tensor:
        scores = x.q @ x.k.mT / math.sqrt(DIM)
        return torch.softmax(scores + mask, dim=-1) @ x.v

    return Step(attend=attend, inputs=(x.q, x.k, x.v), upstream=x.upstream)


def _multihead_attention(x: Inputs) -> Step:
    """The module of torch, as in training, with a mask over positions and one over pads, weights not asked for.

    Its four projections are the identity, and are part of the time.
    """
    sequences, _, length, _ = x.q.shape
    width = HEADS * DIM
    module = nn.MultiheadAttention(width, HEADS, bias=False, batch_first=True)
    module.requires_grad_(requires_grad=False)
    module.in_proj_weight.copy_(torch.eye(width).repeat(3, 1))
    nn.init.eye_(module.out_proj.weight)
    q, k, v = (_heads_together(part.detach()).requires_grad_() for part in (x.q, x.k, x.v))
    later, pads = _later(length), torch.zeros(sequences, length, dtype=torch.bool)

    def attend() -> Tensor:
        out: Tensor = module(q, k, v, attn_mask=later, key_padding_mask=pads, need_weights=False)[0]
        return out

    return Step(attend=attend, inputs=(q, k, v), upstream=_heads_together(x.upstream))


def _heads_together(x: Float[Tensor, "B H L D"]) -> Float[Tensor, "B L _"]:
    return x.transpose(1, 2).flatten(2)


def _later(length: int) -> Tensor:
    """(L, L), True where the key comes after the query."""
    return torch.ones(length, length, dtype=torch.bool).triu_(1)
