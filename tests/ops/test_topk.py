from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuserec.ops.topk import top_values, top_values_reference, topk, topk_reference

INF = float("inf")


@st.composite
def score_matrices(draw: st.DrawFn) -> Tensor:
    """Few distinct values, so that ties are everywhere, some across the border of any list."""
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 14))
    levels = st.sampled_from([-INF, -1.0, 0.0, 0.5, 2.0, INF])
    row = st.lists(levels, min_size=columns, max_size=columns)
    return torch.tensor(draw(st.lists(row, min_size=rows, max_size=rows)))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, int, list[Tensor]]:
    """Scores, k, and the scores cut into blocks of random widths."""
    scores = draw(score_matrices())
    width = scores.shape[1]
    cuts = sorted(draw(st.sets(st.integers(1, width - 1), max_size=4))) if width > 1 else []
    return scores, draw(st.integers(1, 16)), list(scores.tensor_split(cuts, dim=1))


def test_ties_go_to_the_lower_column_by_hand() -> None:
    scores = torch.tensor([[1.0, 3.0, 1.0, 3.0, 1.0], [-INF, 2.0, -INF, -INF, -INF]])
    values, columns = topk([scores[:, :2], scores[:, 2:]], 4)
    assert values.tolist() == [[3.0, 3.0, 1.0, 1.0], [2.0, -INF, -INF, -INF]]
    assert columns.tolist() == [[1, 3, 0, 2], [1, -1, -1, -1]]


def test_ties_at_the_border_are_counted_by_hand() -> None:
    scores = torch.tensor([[5.0, 0.0, 0.0, 0.0, 1.0, 0.0], [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]])
    for width in (1, 2, 3, 4, 6):
        values, ties = top_values(scores.split(width, dim=1), 3)
        assert values.tolist() == [[5.0, 1.0, 0.0], [5.0, 4.0, 3.0]]
        assert ties.tolist() == [4, 1]


def test_a_border_that_rises_from_block_to_block_forgets_lower_ties() -> None:
    first, second = torch.tensor([[0.0, 0.0, 0.0, 7.0]]), torch.tensor([[7.0, 7.0, 7.0, 0.0]])
    values, ties = top_values([first, second], 2)
    assert values.tolist() == [[7.0, 7.0]]
    assert ties.tolist() == [4]


@settings(deadline=None)
@given(cases())
def test_streaming_topk_equals_sorting_whole_rows(case: tuple[Tensor, int, list[Tensor]]) -> None:
    scores, k, blocks = case
    values, columns = topk(blocks, k)
    expected_values, expected_columns = topk_reference(scores, k)
    assert torch.equal(values, expected_values)
    assert torch.equal(columns, expected_columns)


@settings(deadline=None)
@given(cases())
def test_streaming_top_values_equal_counting_whole_rows(case: tuple[Tensor, int, list[Tensor]]) -> None:
    scores, k, blocks = case
    values, ties = top_values(blocks, k)
    expected_values, expected_ties = top_values_reference(scores, k)
    assert torch.equal(values, expected_values)
    meaningful = values[:, -1] > -INF
    assert torch.equal(ties[meaningful], expected_ties[meaningful])


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_long_rows_of_real_numbers_agree_with_the_literal_sort(block: int) -> None:
    scores = torch.randn(9, 1000, generator=torch.Generator().manual_seed(0))
    values, columns = topk(scores.split(block, dim=1), 50)
    assert torch.equal(columns, topk_reference(scores, 50)[1])
    assert torch.equal(values, scores.gather(1, columns))
    assert torch.equal(top_values(scores.split(block, dim=1), 50)[0], values)


def test_the_blocks_are_read_once_and_left_as_they_were() -> None:
    scores = torch.tensor([[0.0, 1.0, 0.0, 1.0, 0.0]])
    before = scores.clone()
    topk(iter(scores.split(2, dim=1)), 2)
    top_values(iter(scores.split(2, dim=1)), 2)
    assert torch.equal(scores, before)


def test_no_block_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one block of scores, got none"):
        topk([], 3)
    with pytest.raises(ValueError, match="expected at least one block of scores, got none"):
        top_values([], 3)
