from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from fuserec.nn import normal_linear, xavier_linear, xavier_uniform
from fuserec.nn.linear import STD


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_normal_weights_have_their_deviation_and_the_bias_is_nought() -> None:
    layer = normal_linear(200, 300, generator=seeded())
    assert layer.weight.shape == (300, 200)
    assert layer.weight.std().item() == pytest.approx(STD, rel=0.02)
    assert abs(layer.weight.mean().item()) < 0.02 * STD
    # a normal distribution has 4.55 % of its values two deviations away, a uniform one none
    assert (layer.weight.abs() > 2 * STD).double().mean().item() == pytest.approx(0.0455, abs=0.004)
    assert not layer.bias.any()


def test_weights_start_within_the_bound_of_xavier_and_the_bias_is_nought() -> None:
    layer, table = xavier_linear(14, 50, generator=seeded()), xavier_uniform(50, 14, generator=seeded())
    bound = (6 / 64) ** 0.5
    for weight in (layer.weight, table):
        assert weight.shape == (50, 14)
        assert 0.95 * bound < float(weight.detach().abs().max()) <= bound
    assert not layer.bias.any()


def test_it_computes_w_x_plus_b() -> None:
    layer = normal_linear(3, 2, generator=seeded())
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([1.0, 2.0]))
    x = torch.tensor([1.0, 0.0, 2.0])
    torch.testing.assert_close(layer(x), layer.weight @ x + layer.bias)


def test_a_bias_can_be_left_out() -> None:
    assert normal_linear(3, 2, generator=seeded(), bias=False).bias is None


@pytest.mark.parametrize("linear", [normal_linear, xavier_linear])
def test_the_generator_alone_decides_and_the_global_state_is_not_touched(
    linear: Callable[..., nn.Linear],
) -> None:
    drawn = []
    for noise in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(noise)
            before = torch.random.get_rng_state()
            drawn.append(linear(4, 4, generator=seeded()).weight)
            assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(*drawn)
    assert not torch.equal(drawn[0], linear(4, 4, generator=seeded(1)).weight)
