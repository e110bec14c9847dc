from __future__ import annotations

import math

import pytest
import torch

from fuserec.losses import uniformity as loss
from fuserec.metrics.space import uniformity


def test_it_is_the_loss_of_all_items_at_once() -> None:
    vectors = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    assert uniformity(vectors) == pytest.approx(loss(vectors, items=torch.arange(9)).item(), rel=1e-5)


def test_one_place_is_zero_and_one_item_has_none() -> None:
    assert uniformity(torch.ones(4, 3)) == pytest.approx(0.0, abs=1e-6)
    assert math.isnan(uniformity(torch.ones(1, 3)))
