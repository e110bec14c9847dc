from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fuserec.metrics.space import cosine_correlation, cosine_rank_correlation
from fuserec.metrics.space.agreement import pair_cosines


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def on_circle(*degrees: float) -> Tensor:
    angles = torch.tensor(degrees).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], 1)


def test_cosines_of_pairs_by_hand() -> None:
    found = pair_cosines(3 * on_circle(0, 60, 90))
    assert found.tolist() == pytest.approx([0.5, 0.0, 0.75**0.5], abs=1e-6)


def test_both_correlations_by_hand() -> None:
    one, other = on_circle(0, 60, 90), on_circle(0, 90, 120)
    # cosines 1/2, 0, sqrt(3)/2 and 0, -1/2, sqrt(3)/2: the same order, not the same distances
    x, y = torch.tensor([0.5, 0.0, 0.75**0.5]), torch.tensor([0.0, -0.5, 0.75**0.5])
    expected = float(torch.corrcoef(torch.stack([x, y]))[0, 1])
    assert cosine_correlation(one, other) == pytest.approx(expected, abs=1e-6)
    assert cosine_rank_correlation(one, other) == pytest.approx(1.0)
    assert expected < 0.99


def test_ties_share_their_mean_rank() -> None:
    # cosines 0, 0, 1 (ranks 1.5, 1.5, 3) against 1/2, 0, sqrt(3)/2 (ranks 2, 1, 3)
    one = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    ranks = torch.tensor([[1.5, 1.5, 3.0], [2.0, 1.0, 3.0]])
    assert cosine_rank_correlation(one, on_circle(0, 60, 90)) == pytest.approx(
        float(torch.corrcoef(ranks)[0, 1]), abs=1e-6
    )


def test_rotation_and_length_do_not_matter_and_an_unrelated_space_does_not_agree() -> None:
    x, rotation = drawn(0, 60, 8), torch.linalg.qr(drawn(1, 8, 8))[0]
    turned = 5.0 * x @ rotation
    for correlation in (cosine_correlation, cosine_rank_correlation):
        assert correlation(x, turned) == pytest.approx(1.0, abs=1e-4)
        assert abs(correlation(x, drawn(2, 60, 8))) < 0.1


def test_with_what_has_collapsed_or_has_no_pair_there_is_no_correlation() -> None:
    for correlation in (cosine_correlation, cosine_rank_correlation):
        assert math.isnan(correlation(drawn(0, 4, 2), torch.zeros(4, 2)))
        assert math.isnan(correlation(drawn(0, 1, 2), drawn(0, 1, 2)))
