"""The choice of blocks with memory linear in the history: the literal one, a few groups at a time.

Shape legend
    B  sequences   H  heads   L  positions   C  blocks   G  groups   N  choices   M  distances   D  width
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fuserec.ops.attention.tiles import spans
from fuserec.ops.attention.visibility import first_of_group, in_earlier_block
from fuserec.shapes import Float, Int

__all__ = ["choose"]

_MAX_PRODUCTS = 1 << 18


def choose(
    query: Float[Tensor, "B H L D"],
    key: Float[Tensor, "B H C D"],
    bias: Float[Tensor, "H M"] | None,
    *,
    block: int,
    selected: int,
    group: int,
) -> Int[Tensor, "B G N"]:
    """The blocks that each group attends to token by token, best first; -1 where there are fewer.

    What `fuserec.ops.attention.reference.choose` gives, ties included.
    """
    B, H, L, D = query.shape
    C = key.shape[2]
    first_G = first_of_group(torch.arange(0, L, group, device=query.device), group)
    chosen = [query.new_empty(B, 0, min(selected, C), dtype=torch.long)]
    for start, count in spans(len(first_G), _MAX_PRODUCTS // max(B * H * C * D, 1)):
        chosen.append(_best(query, key, bias, first_G[start : start + count], block, selected))
    return torch.cat(chosen, 1)


def _best(
    query: Tensor, key: Tensor, bias: Tensor | None, first_G: Int[Tensor, " G"], block: int, selected: int
) -> Int[Tensor, "B G N"]:
    blocks_C = torch.arange(key.shape[2], device=key.device)
    visible_GC = in_earlier_block(first_G[:, None], blocks_C, block)
    # multiplied and added up, not a matrix product: equal blocks get equal bits, so their tie is seen
    logits_BHGC = (query[:, :, first_G, None] * key[:, :, None]).sum(-1) / math.sqrt(query.shape[-1])
    if bias is not None:
        distance_GC = (first_G[:, None] // block - 1 - blocks_C).clamp(min=0)
        logits_BHGC = logits_BHGC + bias[:, distance_GC]
    some = visible_GC.any(-1, keepdim=True)
    share_BHGC = torch.softmax(logits_BHGC.masked_fill_(~visible_GC & some, -torch.inf), dim=-1)
    score_BGC = share_BHGC.sum(1).masked_fill_(~visible_GC, -torch.inf)
    best_BGC = score_BGC.sort(dim=-1, descending=True, stable=True).indices[..., :selected]
    return best_BGC.where(score_BGC.gather(-1, best_BGC) > -torch.inf, -1)
