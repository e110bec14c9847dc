"""The choice of blocks, fast: by matrix products, and literally for groups where these cannot tell who is the last chosen.

A matrix product adds up in an order of its own, so equal blocks may score differently in the last bits, and the literal
form's ties would be lost. Products therefore decide only where the last block chosen and the first one left out differ by
more than rounding explains.

Shape legend
    B  histories   H  heads   L  positions   C  blocks   G  groups   X  choices   M  distances   D  width
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fuserec.ops.attention.blocked.tiles import spans
from fuserec.ops.attention.visibility import in_earlier_block
from fuserec.shapes import Bool, Float, Int

__all__ = ["choose"]

_MAX_NUMBERS = 1 << 18
"""Numbers of a temporary: memory stays linear in the history, and in a core's cache."""


@torch.no_grad()
def choose(
    query: Float[Tensor, "B H L D"],
    key: Float[Tensor, "B H C D"],
    bias: Float[Tensor, "H M"] | None,
    *,
    block: int,
    selected: int,
    group: int,
) -> Int[Tensor, "B G X"]:
    """The blocks that each group attends to event by event, in any order; -1 where there are fewer.

    Those of `fuserec.ops.attention.reference.choose`, ties included.
    """
    B, H, L, D = query.shape
    C = key.shape[2]
    # a group's first query chooses, so that no later event has a say
    first_G = torch.arange(0, L, group, device=query.device)
    choice_BGX = first_G.new_empty(B, len(first_G), min(selected, C))
    if not choice_BGX.numel():
        return choice_BGX
    doubtful_BG = torch.empty(choice_BGX.shape[:2], dtype=torch.bool, device=query.device)
    for start, count in spans(len(first_G), _MAX_NUMBERS // (B * H * C)):
        some = slice(start, start + count)
        choice_BGX[:, some], doubtful_BG[:, some] = _by_products(
            query, key, bias, first_G[some], block, selected
        )
    for b in doubtful_BG.any(1).nonzero().flatten().tolist():
        groups = doubtful_BG[b].nonzero().flatten()
        for start, count in spans(len(groups), _MAX_NUMBERS // (H * C * D)):
            some_G = groups[start : start + count]
            choice_BGX[b, some_G] = _literally(
                query[b : b + 1], key[b : b + 1], bias, first_G[some_G], block, selected
            )[0]
    return choice_BGX


def _by_products(
    query: Tensor, key: Tensor, bias: Tensor | None, first_G: Int[Tensor, " G"], block: int, selected: int
) -> tuple[Int[Tensor, "B G X"], Bool[Tensor, "B G"]]:
    """The choice, and where it is in doubt."""
    D, C = key.shape[-1], key.shape[2]
    first_BHGD = query[:, :, first_G]
    score_BGC = _scores(first_BHGD @ key.mT, bias, first_G, block, D)
    best, best_BGX = score_BGC.topk(min(selected + 1, C), dim=-1)
    if selected >= C:
        doubtful_BG = torch.zeros_like(best_BGX[..., 0], dtype=torch.bool)
    else:
        # two orders of adding up are off by D roundings of |q| |k| each, an exponential by that factor, a softmax twice
        eps = torch.finfo(query.dtype).eps
        norms_BHG = first_BHGD.norm(dim=-1) * key.norm(dim=-1).amax(-1, keepdim=True)
        most = 0 if bias is None else bias.abs().amax()
        off_BG = 2 * eps * (norms_BHG.amax(1) * math.sqrt(D) + most + C + query.shape[1])
        last_BG, left_out_BG = best[..., -2], best[..., -1]
        doubtful_BG = last_BG - left_out_BG <= 2 * off_BG * last_BG
    chosen_BGX = best_BGX[..., :selected]
    return chosen_BGX.where(best[..., :selected] > -torch.inf, -1), doubtful_BG


def _literally(
    query: Tensor, key: Tensor, bias: Tensor | None, first_G: Int[Tensor, " G"], block: int, selected: int
) -> Int[Tensor, "B G X"]:
    # multiplied and added up, not a matrix product: equal blocks get equal bits, so their tie is seen
    products_BHGC = (query[:, :, first_G, None] * key[:, :, None]).sum(-1)
    score_BGC = _scores(products_BHGC, bias, first_G, block, key.shape[-1])
    best_BGX = score_BGC.sort(dim=-1, descending=True, stable=True).indices[..., :selected]
    return best_BGX.where(score_BGC.gather(-1, best_BGX) > -torch.inf, -1)


def _scores(
    products_BHGC: Float[Tensor, "B H G C"], bias: Tensor | None, first_G: Tensor, block: int, D: int
) -> Float[Tensor, "B G C"]:
    """The sum over heads of the softmax over earlier blocks; minus infinity for others."""
    blocks_C = torch.arange(products_BHGC.shape[-1], device=first_G.device)
    visible_GC = in_earlier_block(first_G[:, None], blocks_C, block)
    logits_BHGC = products_BHGC.div_(math.sqrt(D))
    if bias is not None:
        distance_GC = (first_G[:, None] // block - 1 - blocks_C).clamp(min=0)
        logits_BHGC.add_(bias[:, distance_GC])
    some = visible_GC.any(-1, keepdim=True)
    share_BHGC = torch.softmax(logits_BHGC.masked_fill_(~visible_GC & some, -torch.inf), dim=-1)
    return share_BHGC.sum(1).masked_fill_(~visible_GC, -torch.inf)
