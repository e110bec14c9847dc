from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuserec.ops.attention import reference
from fuserec.ops.attention.pattern import Branch, Pattern
from fuserec.ops.attention.summaries import Summaries, block_means
from fuserec.testing.attention import (
    BRANCHES,
    Choose,
    by_loops,
    by_reference,
    chosen_by_first,
    chosen_by_latest,
    chosen_by_mean,
    drawn,
)

NONE = Summaries()


def column(*numbers: float) -> Tensor:
    """One history, one head, width 1."""
    return torch.tensor(numbers, dtype=torch.float64).view(1, 1, -1, 1)


def log(*numbers: float) -> Tensor:
    """Keys that a query of 1 weighs in proportion to the numbers."""
    return column(*numbers).log()


def chosen(
    q: Tensor, k: Tensor, summaries: Summaries = NONE, *, block: int, selected: int, group: int
) -> list[int]:
    """What the last group of the first history chose."""
    pattern = Pattern(window=1, block=block, selected=selected, group=group)
    found: list[int] = reference.choose(q, k, pattern, summaries)[0, -1].tolist()
    return found


def test_the_windowed_branch_by_hand() -> None:
    # weights 1 : 3 in a window of two, then 3 : 2
    pattern = Pattern(window=2, block=1, selected=0, group=1)
    found = reference.windowed(column(1, 1, 1), log(1, 3, 2), column(4, 8, 18), pattern)
    torch.testing.assert_close(found, column(4, 7, 12))


def test_products_are_divided_by_the_root_of_the_width() -> None:
    # q . k = 2 log 3 in width 4, hence log 3: weights 1 : 3
    k = torch.zeros(1, 1, 2, 4, dtype=torch.float64)
    k[0, 0, 1, 2] = 2 * math.log(3)
    v = torch.tensor([[4.0, 0, 0, 0], [8, 0, 0, 0]], dtype=torch.float64).view(1, 1, 2, 4)
    found = reference.windowed(torch.ones_like(k), k, v, Pattern(window=2, block=1, selected=0, group=1))
    assert found[0, 0, 1, 0].item() == pytest.approx(7)


def test_the_block_level_branch_by_hand() -> None:
    # keys' means log 1 and log 3, values' means 2 and 10: nothing, then block 0 alone, then (2 + 3 * 10) / 4
    k = torch.cat([log(4, 1 / 4, 9, 1, 7), column(0)], dim=2)
    found = reference.blockwise(
        torch.ones_like(k),
        k,
        column(1, 3, 9, 11, 50, 60),
        Pattern(window=1, block=2, selected=0, group=1),
        NONE,
    )
    torch.testing.assert_close(found, column(0, 0, 2, 2, 8, 8))
    assert not found[0, 0, :2].any()


def test_the_block_level_branch_reads_what_it_is_given_instead_of_q_and_the_means() -> None:
    # scaled products log 1 and log 3, plus a bias of log 6 one block back and log 2 two: 2 : 18
    zeros = column(0, 0, 0, 0, 0)
    summaries = Summaries(
        query=column(7, 7, 7, 7, 1),
        key=log(1, 3, 5),
        value=column(20, 30, 99),
        bias=torch.tensor([[6.0, 2.0]], dtype=torch.float64).log(),
    )
    found = reference.blockwise(
        zeros, zeros, zeros, Pattern(window=1, block=2, selected=0, group=1), summaries
    )
    torch.testing.assert_close(found, column(0, 0, 20, 20, 29))


def test_the_selective_branch_by_hand() -> None:
    # block 0 has the greater mean key, so queries 4 and 5 see positions 0, 1 and their own block so far;
    # queries 2 and 3 have block 0 alone to choose
    k = log(2, 8, 1, 1, 6, 4)
    v = column(10, 20, 1000, 1000, 40, 30)
    pattern = Pattern(window=1, block=2, selected=1, group=2)
    found = reference.selective(torch.ones_like(k), k, v, pattern, NONE)
    expected = [
        10,
        (2 * 10 + 8 * 20) / 10,
        (2 * 10 + 8 * 20 + 1000) / 11,
        (2 * 10 + 8 * 20 + 2000) / 12,
        (2 * 10 + 8 * 20 + 6 * 40) / 16,
        (2 * 10 + 8 * 20 + 6 * 40 + 4 * 30) / 20,
    ]
    torch.testing.assert_close(found, column(*expected))


def test_the_gates_are_in_the_order_window_block_selected() -> None:
    # at the last position: window of one 8, block 0's mean 2, everything (1 + 3 + 8) / 3 = 4
    zeros, v = column(0, 0, 0), column(1, 3, 8)
    gates = torch.tensor([[0, 0, 0], [0, 0, 0], [1, 10, 100]], dtype=torch.float64).view(1, 3, 1, 3)
    pattern = Pattern(window=1, block=2, selected=1, group=1)
    found = reference.multi_granularity(zeros, zeros, v, gates, pattern, NONE)
    torch.testing.assert_close(found, column(0, 0, 8 + 10 * 2 + 100 * 4))


def test_the_first_query_of_a_group_chooses_for_the_whole_group() -> None:
    # blocks 0, 1 have keys +1 and -1; in block 2 the first query likes +, the second -
    k = column(1, 1, -1, -1, 0, 0)
    q = column(0, 0, 0, 0, 1, -1)
    assert reference.choose(q, k, Pattern(window=1, block=2, selected=1, group=2), NONE)[0, 2].tolist() == [0]
    alone = reference.choose(q, k, Pattern(window=1, block=2, selected=1, group=1), NONE)
    assert alone[0, 4:].tolist() == [[0], [1]]


def test_blocks_are_scored_by_the_sum_over_heads_of_shares_not_of_products() -> None:
    # shares .8 .1 .1 and .05 .7 .25: sums .85 .8 .35; the products' sums would put block 1 first
    k = torch.tensor([[8.0, 1, 1, 1], [1, 14, 5, 1]], dtype=torch.float64).log().view(1, 2, 4, 1)
    assert chosen(torch.ones_like(k), k, block=1, selected=3, group=1) == [0, 1, 2]
    assert k[0, 0, 0].exp() * k[0, 1, 0].exp() < k[0, 0, 1].exp() * k[0, 1, 1].exp()


def test_equal_blocks_are_chosen_from_the_earliest_on() -> None:
    k = column(*[0, 1, 0, 1, 1, 0, 1, 0])
    assert chosen(torch.ones_like(k), k, block=1, selected=3, group=1) == [1, 3, 4]
    assert chosen(torch.zeros_like(k), k, block=1, selected=3, group=1) == [0, 1, 2]


def test_there_are_fewer_choices_where_there_are_fewer_blocks() -> None:
    q = column(*range(6))
    found = reference.choose(q, q, Pattern(window=1, block=2, selected=5, group=2), NONE)
    assert found[0].tolist() == [[-1, -1, -1], [0, -1, -1], [1, 0, -1]]
    assert reference.choose(q, q, Pattern(window=1, block=2, selected=0, group=2), NONE).shape == (1, 3, 0)


def test_the_choice_reads_the_blocks_query_key_and_bias() -> None:
    q, k = column(0, 0, 0, 1), column(0, 9, 0, 0)
    assert chosen(q, k, block=1, selected=1, group=1) == [1]
    assert chosen(q, k, Summaries(query=-q), block=1, selected=1, group=1) == [0]
    assert chosen(q, k, Summaries(key=column(0, 0, 1, 5)), block=1, selected=1, group=1) == [2]
    # distance 3 is column 2
    far = torch.tensor([[0.0, 0.0, 10.0]], dtype=torch.float64)
    assert chosen(q, k, Summaries(bias=far), block=1, selected=1, group=1) == [0]


def test_the_mean_of_an_unfinished_block_is_that_of_what_it_has() -> None:
    torch.testing.assert_close(block_means(column(1, 3, 8), 2), column(2, 8))
    assert block_means(column(), 2).shape == (1, 1, 0, 1)


@st.composite
def patterns(draw: st.DrawFn) -> Pattern:
    group = draw(st.integers(1, 3))
    block = group * draw(st.integers(1, 3))
    return Pattern(window=draw(st.integers(1, 9)), block=block, selected=draw(st.integers(0, 4)), group=group)


@settings(deadline=None, max_examples=60)
@given(
    patterns(), st.integers(0, 14), st.integers(1, 3), st.integers(1, 4), st.integers(0, 999), st.booleans()
)
def test_the_reference_equals_loops_over_sets_of_visible_keys(
    pattern: Pattern, L: int, H: int, D: int, seed: int, summaries: bool
) -> None:
    inputs = drawn(seed, pattern, (2, H, L, D), summaries=summaries)
    for branch in BRANCHES:
        found, expected = by_reference(branch, inputs, pattern), by_loops(branch, inputs, pattern)
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("wrong", [chosen_by_mean, chosen_by_latest])
def test_loops_with_another_choice_are_another_function(wrong: Choose) -> None:
    pattern = Pattern(window=2, block=2, selected=1, group=2)
    inputs = drawn(0, pattern, (1, 2, 12, 4))
    right = by_loops("selective", inputs, pattern, chosen_by_first)
    assert torch.equal(right, by_loops("selective", inputs, pattern))
    assert not torch.allclose(right, by_loops("selective", inputs, pattern, wrong), atol=1e-2)


@pytest.mark.parametrize("summaries", [False, True])
@pytest.mark.parametrize("branch", BRANCHES)
def test_the_gradients_of_the_reference_are_those_of_its_values(branch: Branch, summaries: bool) -> None:
    pattern = Pattern(window=3, block=2, selected=1, group=2)
    inputs = drawn(1, pattern, (1, 2, 7, 3), summaries=summaries)
    used = {name: x.requires_grad_() for name, x in inputs.items() if branch != "windowed" or name in "qkv"}
    if branch not in {"windowed", "multi_granularity"}:
        del used["gates"]

    def of(*tensors: Tensor) -> Tensor:
        return by_reference(branch, inputs | dict(zip(used, tensors, strict=True)), pattern)

    assert torch.autograd.gradcheck(of, tuple(used.values()))
