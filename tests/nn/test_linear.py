from __future__ import annotations

import pytest
import torch

from fuserec.nn import normal_linear


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("std", [0.02, 0.5])
def test_weights_are_normal_with_the_deviation_asked_for_and_the_bias_is_nought(std: float) -> None:
    layer = normal_linear(200, 300, generator=seeded(), std=std)
    assert layer.weight.shape == (300, 200)
    assert layer.weight.std().item() == pytest.approx(std, rel=0.02)
    assert abs(layer.weight.mean().item()) < 0.02 * std
    # a normal distribution has 4.55 % of its values two deviations away, a uniform one none
    assert (layer.weight.abs() > 2 * std).double().mean().item() == pytest.approx(0.0455, abs=0.004)
    assert not layer.bias.any()


def test_it_computes_w_x_plus_b() -> None:
    layer = normal_linear(3, 2, generator=seeded())
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([1.0, 2.0]))
    x = torch.tensor([1.0, 0.0, 2.0])
    torch.testing.assert_close(layer(x), layer.weight @ x + layer.bias)


def test_a_bias_can_be_left_out() -> None:
    assert normal_linear(3, 2, generator=seeded(), bias=False).bias is None


def test_the_generator_alone_decides_and_the_global_state_is_not_touched() -> None:
    drawn = []
    for noise in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(noise)
            before = torch.random.get_rng_state()
            drawn.append(normal_linear(4, 4, generator=seeded()).weight)
            assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(*drawn)
    assert not torch.equal(drawn[0], normal_linear(4, 4, generator=seeded(1)).weight)
