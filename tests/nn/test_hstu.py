from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from fuserec.errors import ConfigError
from fuserec.nn import Dropout, HstuBlock
from fuserec.nn.hstu import BUCKETS, distance_buckets
from fuserec.testing.literal import assert_same_output, randomised

DIM, HEADS = 6, 2
OFFSETS = torch.tensor([0, 5, 5, 6, 13])


def block_of(rate: float = 0.0) -> HstuBlock:
    generator = torch.Generator().manual_seed(0)
    return randomised(HstuBlock(DIM, HEADS, dropout=Dropout(rate, generator=generator), generator=generator))


def rows() -> Tensor:
    rng = torch.Generator().manual_seed(2)
    return torch.randn(int(OFFSETS[-1]), DIM, generator=rng, dtype=torch.float64).requires_grad_()


def silu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def normalised(row: Tensor) -> Tensor:
    centred = row - row.mean()
    return centred / (centred.square().mean() + 1e-6).sqrt()


def literal(block: HstuBlock, x: Tensor, dropout: Dropout) -> Tensor:
    """Eq. (1) to (3), event by event and head by head."""
    width = DIM // HEADS
    gated = []
    for begin, end in pairwise(OFFSETS.tolist()):
        hidden = [silu(block.uvqk.weight @ normalised(x[row]) + block.uvqk.bias) for row in range(begin, end)]
        u, v, q, k = (
            [row[part * DIM : (part + 1) * DIM].view(HEADS, width) for row in hidden] for part in range(4)
        )
        for t in range(end - begin):
            heads = []
            for head in range(HEADS):
                read = torch.zeros(width, dtype=x.dtype)
                for s in range(t + 1):
                    product = q[t][head] @ k[s][head] + block.bias_HM[head, t - s]
                    read = read + silu(product) * v[s][head]
                heads.append(read / (t + 1))
            gated.append(normalised(torch.cat(heads)) * u[t].flatten())
    out: Tensor = x + dropout(torch.stack(gated)) @ block.out.weight.T + block.out.bias
    return out


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_values_and_gradients_are_those_of_the_equations(rate: float) -> None:
    block, x = block_of(rate), rows()
    same_draws = copy.deepcopy(block.dropout)
    expected = literal(block, x, same_draws)
    assert_same_output(block(x, OFFSETS), expected, {"x": x, **dict(block.named_parameters())})


def test_distances_fall_into_exact_buckets_and_then_eight_a_doubling() -> None:
    found = distance_buckets(torch.arange(200_000))
    assert found[:32].tolist() == list(range(32))
    assert found.unique().tolist() == list(range(BUCKETS))
    assert bool((found.diff() >= 0).all())
    for power in range(5, 17):
        assert found[2**power : 2 ** (power + 1)].unique().tolist() == [
            32 + 8 * (power - 5) + step for step in range(8)
        ]
    assert found[131_072:].unique().tolist() == [BUCKETS - 1]


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    generator = torch.Generator()
    with pytest.raises(ConfigError, match="expected dim to be a multiple of the heads, got dim 6, heads 4"):
        HstuBlock(6, 4, dropout=Dropout(0.0, generator=generator), generator=generator)
