from __future__ import annotations

import torch

from fuserec.nn.block_bias import BlockBias, distance_ranges


def test_near_blocks_have_a_bias_each_and_far_ones_share_it_by_halves_of_a_doubling() -> None:
    assert distance_ranges(17).tolist() == [0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7, 8]
    counts = distance_ranges(4096).bincount().tolist()
    assert counts == [1, 1, 1, 1] + [2 ** (n // 2 + 1) for n in range(20)]


def test_what_is_further_than_all_ranges_is_in_the_last() -> None:
    assert distance_ranges(5000)[3072:].unique().tolist() == [23]


def test_a_longer_history_adds_columns_and_changes_none() -> None:
    bias = BlockBias(2)
    with torch.no_grad():
        bias.table.copy_(torch.randn(24, 2, generator=torch.Generator().manual_seed(0)))
    assert bias(1).shape == (2, 1)
    assert torch.equal(bias(3000)[:, :100], bias(100))


def test_at_first_distance_does_not_matter() -> None:
    assert not BlockBias(2)(1000).any()


def test_each_range_learns_from_all_its_distances() -> None:
    bias = BlockBias(1)
    bias(9).sum().backward()
    assert bias.table.grad is not None
    assert bias.table.grad.flatten().tolist() == [1, 1, 1, 1, 2, 2, 1, *[0] * 17]
