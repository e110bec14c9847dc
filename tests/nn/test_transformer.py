"""What holds of every block is in test_blocks.py; here is what this one computes."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor

from fuserec.nn import Dropout, FeedForward, TransformerBlock
from fuserec.testing.literal import randomised

DIM, HEADS, HIDDEN = 8, 2, 12
OFFSETS = torch.tensor([0, 3, 3, 4, 9])


def built(rate: float = 0.0) -> TransformerBlock:
    generator = torch.Generator().manual_seed(0)
    dropout = Dropout(rate, generator=generator)
    return randomised(TransformerBlock(DIM, HEADS, HIDDEN, dropout=dropout, generator=generator))


def rows() -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(9, DIM, generator=generator, dtype=torch.float64)


def normalised(row: Tensor, norm: torch.nn.LayerNorm) -> Tensor:
    centred = row - row.mean()
    return centred / (centred.square().mean() + 1e-5).sqrt() * norm.weight + norm.bias


def gelu(x: Tensor) -> Tensor:
    """Arxiv 1606.08415, section 2: x times the share of a normal distribution below x."""
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def fed(feed_forward: FeedForward, row: Tensor) -> Tensor:
    up = feed_forward.up.weight @ row + feed_forward.up.bias
    down: Tensor = feed_forward.down.weight @ gelu(up) + feed_forward.down.bias
    return down


def literal(block: TransformerBlock, x: Tensor, dropout: Dropout) -> Tensor:
    attended = block.attention(torch.stack([normalised(row, block.attention_norm) for row in x]), OFFSETS)
    x = x + dropout(attended)
    hidden = [fed(block.feed_forward, normalised(row, block.feed_forward_norm)) for row in x]
    out: Tensor = x + dropout(torch.stack(hidden))
    return out


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_both_branches_read_normalised_rows_and_are_dropped_and_added(rate: float) -> None:
    block = built(rate)
    dropout = copy.deepcopy(block.dropout)
    found = block(rows(), OFFSETS)
    torch.testing.assert_close(found, literal(block, rows(), dropout))
    assert torch.allclose(found, literal(block, rows(), dropout)) == (rate == 0), "draws go on"


def test_in_evaluation_nothing_is_dropped() -> None:
    block, whole = built(0.5).eval(), built(0.0)
    torch.testing.assert_close(block(rows(), OFFSETS), whole(rows(), OFFSETS))


def test_with_branches_that_say_nothing_a_block_hands_on_what_it_gets() -> None:
    block = built()
    with torch.no_grad():
        for layer in (block.attention.out, block.feed_forward.down):
            layer.weight.zero_()
            layer.bias.zero_()
    assert torch.equal(block(rows(), OFFSETS), rows())
