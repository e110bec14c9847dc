from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fuserec.losses import sliced_wasserstein
from fuserec.losses.sliced_wasserstein import sphere_quantiles


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=rng(seed))


def test_quantiles_of_the_circle_and_of_the_ball_by_hand() -> None:
    middle = (torch.arange(5, dtype=torch.float64) + 0.5) / 5
    torch.testing.assert_close(sphere_quantiles(5, 2), -torch.cos(math.pi * middle), atol=1e-6, rtol=0)
    # Archimedes: in three dimensions a coordinate is uniform
    torch.testing.assert_close(sphere_quantiles(5, 3), 2 * middle - 1, atol=1e-6, rtol=0)


@pytest.mark.parametrize("dim", [2, 8, 128])
def test_quantiles_are_those_of_points_drawn_on_the_sphere(dim: int) -> None:
    points = drawn(0, 40_000, dim)
    coordinate = (points[:, 0] / points.norm(dim=1)).sort().values
    thinned = coordinate.reshape(8, 5_000).mean(1)
    expected = sphere_quantiles(8_000, dim).reshape(8, 1_000).mean(1)
    torch.testing.assert_close(expected, thinned, atol=0.02 / dim**0.5, rtol=0)


def test_items_in_one_place_cost_two_over_the_dimension() -> None:
    # along a direction at angle a: cos(a)^2 + E t^2 - 0, and both have mean 1 / D
    collapsed = torch.zeros(300, 16, dtype=torch.float64)
    collapsed[:, 3] = 5.0
    loss = sliced_wasserstein(collapsed, num_directions=4_000, generator=rng())
    assert loss.item() == pytest.approx(2 / 16, rel=0.05)


def test_items_spread_evenly_on_the_circle_cost_nothing() -> None:
    angles = 2 * math.pi * (torch.arange(2_000, dtype=torch.float64) + 0.5) / 2_000
    even = torch.stack([angles.cos(), angles.sin()], 1)
    assert sliced_wasserstein(even, num_directions=20, generator=rng()).item() < 1e-5


def test_a_descent_on_it_spreads_a_cap_over_the_sphere() -> None:
    vectors = (torch.tensor([2.0, 0.0, 0.0]) + torch.randn(60, 3, generator=rng(1))).requires_grad_()
    optimiser = torch.optim.Adam([vectors], lr=0.1)
    generator = rng(2)
    for _ in range(150):
        optimiser.zero_grad()
        sliced_wasserstein(vectors, num_directions=20, generator=generator).backward()
        optimiser.step()
    unit = vectors.detach() / vectors.detach().norm(dim=1, keepdim=True)
    assert float(unit.mean(0).norm()) < 0.1
    torch.testing.assert_close(unit.T @ unit / 60, torch.eye(3) / 3, atol=0.05, rtol=0)


def test_the_same_generator_gives_the_same_loss_and_no_item_none() -> None:
    vectors = drawn(0, 5, 4)
    one, same, other = (
        sliced_wasserstein(vectors, num_directions=3, generator=rng(seed)).item() for seed in (1, 1, 2)
    )
    assert one == same != other
    nothing = drawn(0, 0, 4).requires_grad_()
    loss = sliced_wasserstein(nothing, num_directions=3, generator=rng())
    loss.backward()
    assert loss.item() == 0.0


def test_the_gradient_is_exact() -> None:
    assert torch.autograd.gradcheck(
        lambda vectors: sliced_wasserstein(vectors, num_directions=7, generator=rng()),
        [drawn(0, 5, 3).requires_grad_()],
    )
