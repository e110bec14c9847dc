from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fuserec.metrics.space import ridge_probe


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=rng(seed))


def test_what_the_vectors_say_is_read_off_them() -> None:
    x = drawn(0, 200, 5)
    y = x @ drawn(1, 5, 7) + 3.0
    assert ridge_probe(x, y, generator=rng(), regularisation=1e-6) == pytest.approx(1.0, abs=1e-5)


def test_half_of_what_is_to_be_known_is_half_of_the_variance() -> None:
    x = drawn(0, 20_000, 2)
    y = torch.stack([x[:, 0], drawn(1, 20_000)], 1)
    assert ridge_probe(x, y, generator=rng()) == pytest.approx(0.5, abs=0.05)


def test_what_is_learnt_by_heart_does_not_count() -> None:
    # as many columns as items fitted on: without held-out items R^2 would be 1
    assert ridge_probe(drawn(0, 60, 48), drawn(1, 60, 3), generator=rng(), regularisation=1e-6) < 0.0


def test_a_collapsed_space_knows_the_mean_alone() -> None:
    found = ridge_probe(torch.ones(100, 4), drawn(1, 100, 3), generator=rng())
    assert found == pytest.approx(0.0, abs=0.1)


def test_the_same_generator_holds_out_the_same_items() -> None:
    x, y = drawn(0, 30, 3), drawn(1, 30, 2)
    one, same, other = (ridge_probe(x, y, generator=rng(seed)) for seed in (1, 1, 2))
    assert one == same != other


def test_where_there_is_nothing_to_predict_it_is_not_defined() -> None:
    assert math.isnan(ridge_probe(drawn(0, 1, 3), drawn(1, 1, 2), generator=rng()))
    assert math.isnan(ridge_probe(drawn(0, 9, 3), torch.ones(9, 2), generator=rng()))
