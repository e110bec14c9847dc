from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fuserec.ops.borders import content_borders, fixed_borders, time_borders

OFFSETS = torch.tensor([0, 7, 7, 8, 30, 30])


def vectors(seed: int = 0) -> Tensor:
    """Of 30 events, in two dimensions, so that neighbours are alike or unlike by chance."""
    return torch.randn(30, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_by_one(breaks: list[bool], offsets: list[int], block: int) -> list[bool]:
    """Event after event: a border where a history begins, where it breaks, or where the block is full."""
    begins, count = [], 0
    for t, breaks_here in enumerate(breaks):
        border = t in offsets[:-1] or breaks_here or count == block
        count = 1 if border else count + 1
        begins.append(border)
    return begins


@pytest.mark.parametrize("threshold", [-2.0, -0.5, 0.3, 2.0])
@pytest.mark.parametrize("block", [1, 2, 5, 40])
def test_content_borders_are_those_that_one_event_after_the_other_decides(
    threshold: float, block: int
) -> None:
    x = vectors()
    cosines = [1.0] + [float(torch.cosine_similarity(x[t], x[t - 1], dim=0)) for t in range(1, 30)]
    expected = one_by_one([cosine < threshold for cosine in cosines], OFFSETS.tolist(), block)
    assert content_borders(x, OFFSETS, threshold=threshold, block=block).tolist() == expected


@pytest.mark.parametrize("block", [1, 3, 40])
def test_time_borders_are_those_that_one_event_after_the_other_decides(block: int) -> None:
    times = torch.randint(0, 10, (30,), generator=torch.Generator().manual_seed(1)).cumsum(0)
    gaps = [0, *times.diff().tolist()]
    expected = one_by_one([gap > 6 for gap in gaps], OFFSETS.tolist(), block)
    assert time_borders(times, OFFSETS, gap=6, block=block).tolist() == expected


def test_a_pause_as_long_as_the_gap_is_none() -> None:
    whole = torch.tensor([0, 3])
    assert time_borders(torch.tensor([0, 60, 121]), whole, gap=60, block=9).tolist() == [True, False, True]


def test_a_cosine_at_the_threshold_is_no_border() -> None:
    x = torch.tensor([[3.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    assert content_borders(x, torch.tensor([0, 3]), threshold=1.0, block=9).tolist() == [True, False, True]


def test_an_item_without_a_vector_is_unlike_all() -> None:
    x = torch.tensor([[1.0], [0.0], [0.0], [1.0], [1.0]])
    begins = content_borders(x, torch.tensor([0, 5]), threshold=0.5, block=9)
    assert begins.tolist() == [True, True, True, True, False]


def test_fixed_borders_count_from_the_start_of_each_history() -> None:
    assert fixed_borders(OFFSETS[:4], block=3).long().tolist() == [1, 0, 0, 1, 0, 0, 1, 1]


def test_no_border_depends_on_a_later_event() -> None:
    before = content_borders(vectors(), OFFSETS, threshold=0.0, block=4)
    times = torch.arange(30) * 7
    before_by_time = time_borders(times, OFFSETS, gap=7, block=4)
    for t in range(1, 30):
        other = torch.cat((vectors()[:t], vectors(1)[t:]))
        after = content_borders(other, OFFSETS, threshold=0.0, block=4)
        assert after[:t].tolist() == before[:t].tolist()
        later = torch.cat((times[:t], times[t:] + 90 * torch.arange(30 - t)))
        assert time_borders(later, OFFSETS, gap=7, block=4)[:t].tolist() == before_by_time[:t].tolist()


def test_a_history_has_the_borders_that_it_has_alone() -> None:
    x = vectors()
    packed = content_borders(x, OFFSETS, threshold=0.0, block=4)
    for begin, end in zip(OFFSETS[:-1].tolist(), OFFSETS[1:].tolist(), strict=True):
        alone = content_borders(x[begin:end], torch.tensor([0, end - begin]), threshold=0.0, block=4)
        assert alone.tolist() == packed[begin:end].tolist()


def test_borders_ask_for_no_gradient() -> None:
    assert not content_borders(vectors().requires_grad_(), OFFSETS, threshold=0.0, block=4).requires_grad


@pytest.mark.parametrize("threshold", [-0.5, 0.3, 1.0])
@pytest.mark.parametrize("block", [1, 2, 5, 40])
def test_a_start_counts_in_the_first_block_and_begins_no_other(threshold: float, block: int) -> None:
    x, starts = vectors(), OFFSETS[:-1].tolist()
    breaks = [False] + [
        t - 1 not in starts and float(torch.cosine_similarity(x[t], x[t - 1], dim=0)) < threshold
        for t in range(1, 30)
    ]
    expected = one_by_one(breaks, OFFSETS.tolist(), block)
    found = content_borders(x, OFFSETS, threshold=threshold, block=block, started=True)
    assert found.tolist() == expected


def test_what_vector_is_given_for_a_start_does_not_matter() -> None:
    other = vectors()
    other[[0, 7, 8]] = vectors(1)[[0, 7, 8]]
    found = [content_borders(x, OFFSETS, threshold=0.0, block=4, started=True) for x in (vectors(), other)]
    assert torch.equal(*found)
    plain = [content_borders(x, OFFSETS, threshold=0.0, block=4) for x in (vectors(), other)]
    assert not torch.equal(*plain)
