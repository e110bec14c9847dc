"""Sparse attention once more, in loops over plain numbers, and the inputs of its tests.

Written from docs/papers/mufasa.md alone: for each query the set of what it sees, then a softmax over that set. It shares
no line with `fuserec.ops.attention`, so that the reference there has something to be held against. The rule by which a
group chooses is an argument: wrong ones show that a test sees what it is for.

Shape legend
    B  histories   H  heads   L  positions   D  width   C  blocks   M  block distances
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from fuserec.ops.attention import reference
from fuserec.ops.attention.pattern import Branch, Pattern
from fuserec.ops.attention.summaries import Summaries

__all__ = [
    "BRANCHES",
    "Choose",
    "Inputs",
    "Lists",
    "by_loops",
    "by_reference",
    "chosen_by_first",
    "chosen_by_latest",
    "chosen_by_mean",
    "cut",
    "drawn",
    "gradients",
]

BRANCHES: tuple[Branch, ...] = ("windowed", "blockwise", "selective", "multi_granularity")

Inputs = dict[str, Tensor]
"""The tensors of a call by the names of its arguments: q, k, v, gates and perhaps block_query and so on."""

Vector = Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Lists:
    """One history as nested lists: (H, L, D), gates (L, H, 3), blocks (H, C, D), bias (H, M) or None."""

    q: list[list[Vector]]
    k: list[list[Vector]]
    v: list[list[Vector]]
    gates: list[list[Vector]]
    block_query: list[list[Vector]]
    block_key: list[list[Vector]]
    block_value: list[list[Vector]]
    block_bias: list[Vector] | None


Choose = Callable[[Lists, Pattern, int], list[int]]
"""The blocks that a group, given by its number, attends to event by event."""


def by_loops(branch: Branch, inputs: Inputs, pattern: Pattern, choose: Choose | None = None) -> Tensor:
    """One branch, or all by gate, of histories of equal length: (B, H, L, D) in float64.

    Args:
        branch: what to compute.
        inputs: the tensors.
        pattern: how far each branch sees.
        choose: which blocks a group attends to; None for the rule of the specification.
    """
    histories, heads, length, _ = inputs["q"].shape
    out = torch.zeros(inputs["q"].shape, dtype=torch.float64)
    for b in range(histories):
        history = _history(inputs, pattern, b)
        groups = range(-(-length // pattern.group))
        chosen = [(choose or chosen_by_first)(history, pattern, group) for group in groups]
        for h, t in itertools.product(range(heads), range(length)):
            if branch == "multi_granularity":
                parts = (
                    _windowed(history, pattern, h, t),
                    _blockwise(history, pattern, h, t),
                    _selective(history, pattern, h, t, chosen),
                )
                weighed = zip(history.gates[t][h], parts, strict=True)
                rows = [[gate * x for x in part] for gate, part in weighed]
                row = [sum(column) for column in zip(*rows, strict=True)]
            elif branch == "windowed":
                row = _windowed(history, pattern, h, t)
            elif branch == "blockwise":
                row = _blockwise(history, pattern, h, t)
            else:
                row = _selective(history, pattern, h, t, chosen)
            out[b, h, t] = out.new_tensor(row)
    return out


def chosen_by_first(history: Lists, pattern: Pattern, group: int) -> list[int]:
    """The rule of the specification: the group's first query decides."""
    first = group * pattern.group
    return _best(history, pattern, [head[first] for head in history.block_query], first // pattern.block)


def chosen_by_mean(history: Lists, pattern: Pattern, group: int) -> list[int]:
    """The rule that leaks: the mean of the group's queries decides, later ones included."""
    first = group * pattern.group
    members = [head[first : first + pattern.group] for head in history.block_query]
    means = [[sum(column) / len(head) for column in zip(*head, strict=True)] for head in members]
    return _best(history, pattern, means, first // pattern.block)


def chosen_by_latest(_: Lists, pattern: Pattern, group: int) -> list[int]:
    """The rule that never looks: always the latest blocks."""
    own = group * pattern.group // pattern.block
    return list(range(own))[::-1][: pattern.selected]


def drawn(
    seed: int,
    pattern: Pattern,
    shape: tuple[int, int, int, int],
    *,
    dtype: torch.dtype = torch.float64,
    summaries: bool = False,
) -> Inputs:
    """Random inputs whose choices stay the same under small changes, so that rounding decides none of them.

    Args:
        seed: where the stream of random numbers begins.
        pattern: how far each branch sees.
        shape: B, H, L and D.
        dtype: of all tensors.
        summaries: draw block_query, block_key, block_value and block_bias too.
    """
    generator = torch.Generator().manual_seed(seed)
    histories, heads, length, width = shape
    blocks = -(-length // pattern.block)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys("qkv", shape)
    shapes["gates"] = (histories, length, heads, 3)
    if summaries:
        shapes |= dict.fromkeys(("block_key", "block_value"), (histories, heads, blocks, width))
        shapes |= {"block_query": shape, "block_bias": (heads, max(1, blocks - 1))}
    while True:
        inputs = {
            name: torch.randn(size, generator=generator, dtype=torch.float64).to(dtype)
            for name, size in shapes.items()
        }
        if _settled(inputs, pattern, generator):
            return inputs


def by_reference(
    branch: Branch, inputs: Inputs, pattern: Pattern, lengths: Sequence[int] | None = None
) -> Tensor:
    """The reference, one history after the other, each cut to its length; 0 after it."""
    q = inputs["q"]
    rows = []
    for b, length in enumerate([q.shape[2]] * len(q) if lengths is None else lengths):
        one = cut(inputs, b, length, pattern.block)
        summaries = Summaries(
            query=one.get("block_query"),
            key=one.get("block_key"),
            value=one.get("block_value"),
            bias=one.get("block_bias"),
        )
        out = reference.run(branch, one["q"], one["k"], one["v"], one.get("gates"), pattern, summaries)
        rows.append(pad(out, (0, 0, 0, q.shape[2] - length)))
    return torch.cat(rows) if rows else q


def cut(inputs: Inputs, b: int, length: int, block: int) -> Inputs:
    """One history of a batch, without its padding, as a batch of one."""
    blocks = -(-length // block)
    ends = {"gates": (1, length), "block_key": (2, blocks), "block_value": (2, blocks)}
    found = {}
    for name, x in inputs.items():
        axis, count = ends.get(name, (2, length))
        found[name] = x if name == "block_bias" else x[b : b + 1].narrow(axis, 0, count)
    return found


def gradients(out: Tensor, inputs: Inputs, seed: int = 0) -> Inputs:
    """The gradient by every input of the sum of the output's numbers, each times a random one; 0 where it has no part."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(out.shape, generator=generator, dtype=torch.float32).to(out.dtype)
    found = torch.autograd.grad(
        (out * weights).sum(), list(inputs.values()), allow_unused=True, materialize_grads=True
    )
    return dict(zip(inputs, found, strict=True))


def _windowed(history: Lists, pattern: Pattern, h: int, t: int) -> list[float]:
    visible = [s for s in range(len(history.q[h])) if t - pattern.window < s <= t]
    return _attended(history.q[h][t], history.k[h], history.v[h], visible)


def _blockwise(history: Lists, pattern: Pattern, h: int, t: int) -> list[float]:
    own = t // pattern.block
    return _attended(
        history.block_query[h][t],
        history.block_key[h],
        history.block_value[h],
        list(range(own)),
        [_bias(history, h, own - c) for c in range(own)],
    )


def _selective(history: Lists, pattern: Pattern, h: int, t: int, choices: list[list[int]]) -> list[float]:
    chosen = choices[t // pattern.group]
    visible = [
        s
        for s in range(len(history.q[h]))
        if s // pattern.block in chosen or (s // pattern.block == t // pattern.block and s <= t)
    ]
    return _attended(history.q[h][t], history.k[h], history.v[h], visible)


def _attended(
    query: Vector,
    keys: Sequence[Vector],
    values: Sequence[Vector],
    visible: list[int],
    biases: Vector | None = None,
) -> list[float]:
    width = len(query)
    logits = [_product(query, keys[s]) / math.sqrt(width) for s in visible]
    if biases is not None:
        logits = [logit + bias for logit, bias in zip(logits, biases, strict=True)]
    weights = _softmax(logits)
    weighed = [(weight, values[s]) for weight, s in zip(weights, visible, strict=True)]
    return [sum((weight * value[d] for weight, value in weighed), 0.0) for d in range(width)]


def _best(history: Lists, pattern: Pattern, queries: Sequence[Vector], own: int) -> list[int]:
    """The earlier blocks with the greatest sum over heads of softmax; the lower number where two are equal."""
    scores = [0.0] * own
    for h, query in enumerate(queries):
        logits = [
            _product(query, history.block_key[h][c]) / math.sqrt(len(query)) + _bias(history, h, own - c)
            for c in range(own)
        ]
        scores = [score + share for score, share in zip(scores, _softmax(logits), strict=True)]
    return sorted(range(own), key=lambda c: (-scores[c], c))[: pattern.selected]


def _softmax(logits: Vector) -> list[float]:
    if not logits:
        return []
    top = max(logits)
    powers = [math.exp(logit - top) for logit in logits]
    return [power / sum(powers) for power in powers]


def _product(x: Vector, y: Vector) -> float:
    return sum(a * b for a, b in zip(x, y, strict=True))


def _bias(history: Lists, h: int, distance: int) -> float:
    return 0.0 if history.block_bias is None else history.block_bias[h][distance - 1]


def _history(inputs: Inputs, pattern: Pattern, b: int) -> Lists:
    q, k, v, gates = (inputs[name][b].detach().tolist() for name in ("q", "k", "v", "gates"))
    own = {
        name: inputs[name][b].detach().tolist()
        for name in ("block_query", "block_key", "block_value")
        if name in inputs
    }
    return Lists(
        q=q,
        k=k,
        v=v,
        gates=gates,
        block_query=own.get("block_query", q),
        block_key=own.get("block_key") or [_means(head, pattern.block) for head in k],
        block_value=own.get("block_value") or [_means(head, pattern.block) for head in v],
        block_bias=inputs["block_bias"].detach().tolist() if "block_bias" in inputs else None,
    )


def _means(rows: list[Vector], block: int) -> list[Vector]:
    blocks = [rows[start : start + block] for start in range(0, len(rows), block)]
    return [[sum(column) / len(one) for column in zip(*one, strict=True)] for one in blocks]


def _settled(inputs: Inputs, pattern: Pattern, generator: torch.Generator) -> bool:
    """Whether queries that are changed by a hundred times the rounding of float32 choose the same."""
    exact = {name: x.double() for name, x in inputs.items()}
    summaries = Summaries(key=exact.get("block_key"), bias=exact.get("block_bias"))
    query = exact.get("block_query", exact["q"])
    chosen = reference.choose(query, exact["k"], pattern, summaries)
    for _ in range(3):
        shaken = query * (1 + 1e-5 * torch.randn(query.shape, generator=generator, dtype=torch.float64))
        if not torch.equal(reference.choose(shaken, exact["k"], pattern, summaries), chosen):
            return False
    return True
