"""Multi-granularity sparse attention, literally: every branch as dense attention under a mask.

What every fast form is compared with, values and gradients. Memory is O(B H L^2).

Source: MUFASA (arXiv 2508.09664), sparse attention-guided alignment; rules as docs/papers/mufasa.md states them.

Shape legend
    B  histories   H  heads   L  positions of queries   S  positions of keys   C  blocks   G  groups   X  choices   D  width
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fuserec.ops.attention.pattern import Branch, Pattern
from fuserec.ops.attention.summaries import Summaries, block_means
from fuserec.ops.attention.visibility import in_earlier_block, in_own_block, in_window
from fuserec.shapes import Bool, Float, Int

__all__ = ["attend", "blockwise", "choose", "multi_granularity", "run", "selective", "windowed"]


def attend(
    q: Float[Tensor, "B H L D"],
    k: Float[Tensor, "B H S D"],
    v: Float[Tensor, "B H S D"],
    visible: Bool[Tensor, "*shape"],
    bias: Float[Tensor, "H L S"] | None = None,
) -> Float[Tensor, "B H L D"]:
    """Softmax attention over the visible keys; exactly 0 where none is visible."""
    logits_BHLS = q @ k.mT / math.sqrt(q.shape[-1])
    if bias is not None:
        logits_BHLS = logits_BHLS + bias
    some = visible.any(-1, keepdim=True)
    weights_BHLS = torch.softmax(logits_BHLS.masked_fill(~visible & some, -torch.inf), dim=-1)
    return (weights_BHLS * some) @ v


def windowed(
    q: Float[Tensor, "B H L D"], k: Float[Tensor, "B H L D"], v: Float[Tensor, "B H L D"], pattern: Pattern
) -> Float[Tensor, "B H L D"]:
    """Attention to the last ``window`` events."""
    at = torch.arange(q.shape[2], device=q.device)
    return attend(q, k, v, in_window(at[:, None], at, pattern.window))


def blockwise(
    q: Float[Tensor, "B H L D"],
    k: Float[Tensor, "B H L D"],
    v: Float[Tensor, "B H L D"],
    pattern: Pattern,
    summaries: Summaries,
) -> Float[Tensor, "B H L D"]:
    """Attention to the summaries of earlier blocks."""
    query, key, bias_HLC = _scored_by(q, k, pattern, summaries)
    value = block_means(v, pattern.block) if summaries.value is None else summaries.value
    # nobody sees the last block, whatever stands there
    key, value = key[:, :, :-1], value[:, :, :-1]
    bias_HLC = None if bias_HLC is None else bias_HLC[..., :-1]
    at = torch.arange(q.shape[2], device=q.device)
    blocks = torch.arange(key.shape[2], device=q.device)
    return attend(query, key, value, in_earlier_block(at[:, None], blocks, pattern.block), bias_HLC)


def selective(
    q: Float[Tensor, "B H L D"],
    k: Float[Tensor, "B H L D"],
    v: Float[Tensor, "B H L D"],
    pattern: Pattern,
    summaries: Summaries,
) -> Float[Tensor, "B H L D"]:
    """Attention to every event of the blocks that the query's group chose, and to the own block up to the query."""
    choice_BGX = choose(q, k, pattern, summaries)
    at = torch.arange(q.shape[2], device=q.device)
    block_of_S = at // pattern.block
    chosen_BGS = (choice_BGX[..., None] == block_of_S).any(2)
    visible_BLS = chosen_BGS[:, at // pattern.group] | in_own_block(at[:, None], at, pattern.block)
    return attend(q, k, v, visible_BLS[:, None])


def choose(
    q: Float[Tensor, "B H L D"], k: Float[Tensor, "B H L D"], pattern: Pattern, summaries: Summaries
) -> Int[Tensor, "B G X"]:
    """The blocks that each group attends to event by event, best first; -1 where there are fewer.

    The first query of a group scores every earlier block by the sum over heads of its softmax over them.
    """
    query, key, bias_HLC = _scored_by(q, k, pattern, summaries)
    # a group's first query chooses, so that no later event has a say
    first_G = torch.arange(0, q.shape[2], pattern.group, device=q.device)
    blocks_C = torch.arange(key.shape[2], device=q.device)
    visible_GC = in_earlier_block(first_G[:, None], blocks_C, pattern.block)
    # multiplied and added up, not a matrix product: equal blocks get equal bits, so their tie is seen
    logits_BHGC = (query[:, :, first_G, None] * key[:, :, None]).sum(-1) / math.sqrt(q.shape[-1])
    if bias_HLC is not None:
        logits_BHGC = logits_BHGC + bias_HLC[:, first_G]
    some = visible_GC.any(-1, keepdim=True)
    share_BHGC = torch.softmax(logits_BHGC.masked_fill(~visible_GC & some, -torch.inf), dim=-1)
    score_BGC = share_BHGC.sum(1).masked_fill(~visible_GC, -torch.inf).detach()
    best_BGC = score_BGC.sort(dim=-1, descending=True, stable=True).indices[..., : pattern.selected]
    return best_BGC.where(score_BGC.gather(-1, best_BGC) > -torch.inf, -1)


def multi_granularity(
    q: Float[Tensor, "B H L D"],
    k: Float[Tensor, "B H L D"],
    v: Float[Tensor, "B H L D"],
    gates: Float[Tensor, "B L H 3"],
    pattern: Pattern,
    summaries: Summaries,
) -> Float[Tensor, "B H L D"]:
    """The three branches, each times its gate."""
    branches = (
        windowed(q, k, v, pattern),
        blockwise(q, k, v, pattern, summaries),
        selective(q, k, v, pattern, summaries),
    )
    gates_3BHL1 = gates.permute(3, 0, 2, 1)[..., None]
    return (torch.stack(branches) * gates_3BHL1).sum(0)


def run(
    branch: Branch,
    q: Float[Tensor, "B H L D"],
    k: Float[Tensor, "B H L D"],
    v: Float[Tensor, "B H L D"],
    gates: Float[Tensor, "B L H 3"] | None,
    pattern: Pattern,
    summaries: Summaries,
) -> Float[Tensor, "B H L D"]:
    """One branch, or all three by gate."""
    if branch == "windowed":
        return windowed(q, k, v, pattern)
    if branch == "blockwise":
        return blockwise(q, k, v, pattern, summaries)
    if branch == "selective":
        return selective(q, k, v, pattern, summaries)
    assert gates is not None
    return multi_granularity(q, k, v, gates, pattern, summaries)


def _scored_by(
    q: Tensor, k: Tensor, pattern: Pattern, summaries: Summaries
) -> tuple[Tensor, Tensor, Float[Tensor, "H L C"] | None]:
    """The queries, keys and biases of block-level scores."""
    query = q if summaries.query is None else summaries.query
    key = block_means(k, pattern.block) if summaries.key is None else summaries.key
    if summaries.bias is None:
        return query, key, None
    own_L1 = torch.arange(q.shape[2], device=q.device)[:, None] // pattern.block
    distance_LC = own_L1 - torch.arange(key.shape[2], device=q.device)
    # what is not earlier is masked, whatever bias it gets
    return query, key, summaries.bias[:, (distance_LC - 1).clamp(min=0)]
