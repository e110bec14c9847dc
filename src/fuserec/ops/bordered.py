"""Block-level and selective attention where blocks have borders of their own.

Every block is laid out in as many slots as the largest may have; then a border comes every so many slots, and
`fuserec.ops.attention` does the rest. What no event fills is seen by nobody.

Shape legend
    T  packed events   C  blocks of all histories   S  slots   H  heads   D  width of a head   M  distances in blocks
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from fuserec.ops.attention import blockwise, selective
from fuserec.ops.blocks import Blocks
from fuserec.shapes import Float

__all__ = ["bordered_blockwise", "bordered_selective"]

HIDDEN = -1e5
"""The logit of a slot that no event fills: its softmax weight is exactly 0 beside any logit above -99,000."""


def bordered_blockwise(
    query: Float[Tensor, "T H D"],
    blocks: Blocks,
    *,
    block_key: Float[Tensor, "C H D"],
    block_value: Float[Tensor, "C H D"],
    block_bias: Float[Tensor, "H M"] | None = None,
) -> Float[Tensor, "T H D"]:
    """Attention to a summary of every block before the query's own; 0 in the first block.

    Args:
        query: (T, H, D).
        blocks: of the T events.
        block_key: (C, H, D) a summary of each block.
        block_value: (C, H, D) what is read of it.
        block_bias: (H, M) added to scores after scaling; column m is for a block m + 1 blocks before the query's.
    """
    query_SHD = _in_slots(query, blocks)
    out_SHD = blockwise(
        query_SHD,
        query_SHD,  # keys and values of single events are not read where blocks have summaries
        query_SHD,
        block=blocks.size,
        offsets=blocks.offsets * blocks.size,
        block_key=block_key,
        block_value=block_value,
        block_bias=block_bias,
    )
    return out_SHD.index_select(0, blocks.slots)


def bordered_selective(
    q: Float[Tensor, "T H D"],
    k: Float[Tensor, "T H D"],
    v: Float[Tensor, "T H D"],
    blocks: Blocks,
    *,
    selected: int,
    group: int,
    block_query: Float[Tensor, "T H D"],
    block_key: Float[Tensor, "C H D"],
    block_bias: Float[Tensor, "H M"] | None = None,
) -> Float[Tensor, "T H D"]:
    """Attention to every event of the blocks that the query's group chose, and to its own block up to itself.

    Groups count from the start of each block, so the event that chooses for a group is its first.

    Args:
        q: (T, H, D).
        k: (T, H, D).
        v: (T, H, D).
        blocks: of the T events.
        selected: earlier blocks that a group chooses.
        group: neighbouring queries of a block that share a choice; divides ``blocks.size``.
        block_query: (T, H, D) what chooses.
        block_key: (C, H, D) a summary of each block.
        block_bias: as in `bordered_blockwise`.
    """
    D = q.shape[-1]
    wider = math.sqrt((D + 1) / D)  # the operator divides by the root of the width it sees
    # one number more for each row: a query's is 1, a key's 0 where there is an event
    out_SHD = selective(
        _in_slots(F.pad(q * wider, (0, 1), value=1.0), blocks),
        _in_slots(F.pad(k, (0, 1)), blocks, other=HIDDEN * math.sqrt(D + 1)),
        _in_slots(F.pad(v, (0, 1)), blocks),
        block=blocks.size,
        selected=selected,
        group=group,
        offsets=blocks.offsets * blocks.size,
        block_query=_in_slots(F.pad(block_query * wider, (0, 1)), blocks),
        block_key=F.pad(block_key, (0, 1)),
        block_bias=block_bias,
    )
    return out_SHD.index_select(0, blocks.slots)[..., :D]


def _in_slots(x: Float[Tensor, "T H D"], blocks: Blocks, *, other: float = 0.0) -> Float[Tensor, "S H D"]:
    """The events in their slots; 0 in the others, but for the last number of each row, which is ``other``."""
    empty_SHD = x.new_zeros(len(blocks) * blocks.size, *x.shape[1:])
    empty_SHD[..., -1] = other
    return empty_SHD.index_copy(0, blocks.slots, x)
