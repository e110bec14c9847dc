from __future__ import annotations

import math

import torch

from fuserec.nn import FeedForward, GatedFeedForward


def drawn(dim: int, hidden: int) -> GatedFeedForward:
    return GatedFeedForward(dim, hidden, generator=torch.Generator().manual_seed(0))


def test_hidden_numbers_are_multiplied_by_their_gates_by_hand() -> None:
    layer = drawn(1, 2)
    with torch.no_grad():
        layer.up.weight.copy_(torch.tensor([[1.0], [-1.0], [3.0], [5.0]]))
        layer.down.weight.copy_(torch.tensor([[1.0, 1.0]]))
        layer.down.bias.fill_(0.5)
    silu = [x / (1 + math.exp(-x)) for x in (2.0, -2.0)]
    expected = silu[0] * 6.0 + silu[1] * 10.0 + 0.5
    assert math.isclose(layer(torch.tensor([[2.0]])).item(), expected, rel_tol=1e-6)


def test_with_two_thirds_of_the_hidden_numbers_it_is_as_large_as_without_gates() -> None:
    generator = torch.Generator().manual_seed(0)
    plain = sum(p.numel() for p in FeedForward(96, 4 * 96, generator=generator).parameters())
    gated = sum(p.numel() for p in drawn(96, 8 * 96 // 3).parameters())
    assert abs(gated / plain - 1) < 0.01


def test_it_draws_from_the_generator_alone() -> None:
    before = torch.get_rng_state()
    one, other = drawn(4, 3), drawn(4, 3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.up.weight, other.up.weight)
