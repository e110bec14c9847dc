from __future__ import annotations

import math

import pytest
import torch

from fuserec.metrics.space import effective_rank


def test_two_singular_values_by_hand() -> None:
    # shares 3/4 and 1/4
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert effective_rank(torch.diag(torch.tensor([3.0, 1.0]))) == pytest.approx(math.exp(entropy), rel=1e-6)


def test_its_ends_are_one_line_and_all_directions_alike() -> None:
    assert effective_rank(torch.outer(torch.arange(1.0, 6.0), torch.ones(3))) == pytest.approx(1.0, abs=1e-4)
    rotation = torch.linalg.qr(torch.randn(7, 7, generator=torch.Generator().manual_seed(0)))[0]
    assert effective_rank(5 * rotation) == pytest.approx(7.0, rel=1e-5)


def test_where_all_is_zero_or_nothing_it_is_not_defined() -> None:
    assert math.isnan(effective_rank(torch.zeros(3, 2)))
    assert math.isnan(effective_rank(torch.zeros(0, 2)))
