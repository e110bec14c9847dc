from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from fuserec.nn import Dropout, LigrBlock
from fuserec.testing.literal import assert_same_output, randomised

DIM, HEADS, HIDDEN = 4, 2, 6
OFFSETS = torch.tensor([0, 5, 5, 6, 13])


def block_of(rate: float = 0.0) -> LigrBlock:
    generator = torch.Generator().manual_seed(0)
    dropout = Dropout(rate, generator=generator)
    return randomised(LigrBlock(DIM, HEADS, HIDDEN, dropout=dropout, generator=generator))


def rows() -> Tensor:
    rng = torch.Generator().manual_seed(2)
    return torch.randn(int(OFFSETS[-1]), DIM, generator=rng, dtype=torch.float64).requires_grad_()


def normalised(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    centred = x - x.mean(1, keepdim=True)
    scaled: Tensor = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
    return scaled * norm.weight + norm.bias


def gate(x: Tensor, layer: nn.Linear) -> Tensor:
    return 1 / (1 + torch.exp(-(x @ layer.weight.T + layer.bias)))


def literal(block: LigrBlock, x: Tensor, dropout: Dropout) -> Tensor:
    """Both branches, written out; attention and feed-forward have tests of their own."""
    attended = dropout(block.attention(normalised(x, block.attention_norm), OFFSETS))
    middle = x + gate(x, block.attention_gate) * attended
    fed = dropout(block.feed_forward(normalised(middle, block.feed_forward_norm)))
    out: Tensor = middle + gate(middle, block.feed_forward_gate) * fed
    return out


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_values_and_gradients_are_those_of_the_equations(rate: float) -> None:
    block, x = block_of(rate), rows()
    same_draws = copy.deepcopy(block.dropout)
    expected = literal(block, x, same_draws)
    assert_same_output(block(x, OFFSETS), expected, {"x": x, **dict(block.named_parameters())})


def test_a_row_whose_gates_are_shut_keeps_what_it_was() -> None:
    block, x = block_of(), rows()
    with torch.no_grad():
        for layer in (block.attention_gate, block.feed_forward_gate):
            layer.weight.zero_()
            layer.bias.fill_(-1e3)
    torch.testing.assert_close(block(x, OFFSETS), x)
