from __future__ import annotations

import pytest
import torch

from fuserec.ops.dropout import STEPS, dropout, dropout_mask


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5, 0.9])
def test_the_share_of_zeros_is_the_rate(rate: float) -> None:
    kept = dropout_mask((200, 500), rate, generator=seeded()).double().mean().item()
    exact = round(STEPS * (1 - rate)) / STEPS
    assert abs(exact - (1 - rate)) <= 0.5 / STEPS
    assert kept == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 100_000) ** 0.5)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.75])
def test_what_is_kept_is_divided_by_the_share_that_is(rate: float) -> None:
    dropped = dropout(torch.ones(4096, dtype=torch.float64), rate, generator=seeded())
    kept = round(STEPS * (1 - rate))
    assert dropped.unique().tolist() == [0.0, STEPS / kept]


def test_the_mean_over_many_draws_is_the_input() -> None:
    generator, x = seeded(), torch.tensor([1.0, -2.0, 3.0])
    mean = torch.stack([dropout(x, 0.3, generator=generator) for _ in range(1000)]).mean(0)
    torch.testing.assert_close(mean, x, rtol=0.1, atol=0.0)


def test_values_are_dropped_one_by_one() -> None:
    # neighbours share a draw of eight bytes; none of them may decide another
    mask = dropout_mask((50_000, 8), 0.5, generator=seeded()).double()
    correlation = torch.corrcoef(mask.T) - torch.eye(8)
    assert correlation.abs().max().item() < 0.03


@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (8,), (9,), (3, 5, 2)])
def test_any_shape_is_served(shape: tuple[int, ...]) -> None:
    assert dropout_mask(shape, 0.5, generator=seeded()).shape == shape
    x = torch.ones(shape)
    assert dropout(x, 0.5, generator=seeded()).shape == shape


def test_backward_drops_and_scales_what_forward_did() -> None:
    x = torch.randn(40, generator=seeded(1), dtype=torch.float64).requires_grad_()
    out = dropout(x, 0.4, generator=seeded())
    out.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad * x.detach(), out.detach())
    assert (x.grad == 0).any()


def test_gradcheck() -> None:
    x = torch.randn(3, 4, generator=seeded(1), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda one: dropout(one, 0.5, generator=seeded()), (x,))


def test_the_generator_alone_decides() -> None:
    x = torch.ones(1000)
    drawn = []
    for noise in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(noise)
            drawn.append(dropout(x, 0.5, generator=seeded()))
    assert torch.equal(*drawn)
    assert not torch.equal(drawn[0], dropout(x, 0.5, generator=seeded(1)))
    generator = seeded()
    assert torch.equal(dropout(x, 0.5, generator=generator), drawn[0])
    assert not torch.equal(dropout(x, 0.5, generator=generator), drawn[0]), "draws go on"


def test_the_global_random_state_is_not_touched() -> None:
    before = torch.random.get_rng_state()
    dropout(torch.ones(100), 0.5, generator=seeded())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_mask_is_that_of_the_values() -> None:
    x = torch.ones(30)
    dropped = dropout(x, 0.5, generator=seeded())
    assert torch.equal(dropped != 0, dropout_mask((30,), 0.5, generator=seeded()))


def test_a_rate_of_nought_changes_nothing() -> None:
    x = torch.randn(5, generator=seeded())
    assert torch.equal(dropout(x, 0.0, generator=seeded()), x)
    assert dropout_mask((100,), 0.0, generator=seeded()).all()


def test_a_rate_that_rounds_to_nought_drops_nothing() -> None:
    assert dropout_mask((100,), 0.001, generator=seeded()).all()


def test_a_rate_close_to_one_keeps_one_value_in_256() -> None:
    dropped = dropout(torch.ones(100_000), 0.9999, generator=seeded())
    assert dropped.unique().tolist() == [0.0, STEPS]
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.2)
