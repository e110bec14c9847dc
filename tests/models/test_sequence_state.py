from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from fuserec.batch import Histories, Queries
from fuserec.errors import ConfigError, DataError
from fuserec.models.content_borders import ContentBorders
from fuserec.models.sequence_scorer import SequenceScorer
from fuserec.models.sequence_state import SequenceState
from fuserec.nn.encoder import Encoder

NUM_ITEMS, DIM, COLD = 12, 8, 11
HISTORY = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3]
SPARSE: dict[str, Any] = {
    "heads": 2,
    "window": 3,
    "block": 4,
    "selected": 1,
    "group": 2,
    "branches": ["window", "block", "selected"],
    "gated": True,
    "learnt_pooling": False,
    "evolution": True,
    "gated_feed_forward": False,
}
DENSE: dict[str, Any] = {"heads": 2, "hidden": 12}
ENCODERS: list[tuple[str, dict[str, Any]]] = [
    ("sparse", SPARSE),
    ("sparse", SPARSE | {"learnt_pooling": True, "gated_feed_forward": True, "evolution": False, "heads": 1}),
    ("sparse", SPARSE | {"branches": ["window"], "gated": False}),
    ("transformer", DENSE),
    ("ligr", DENSE),
]
EACH = pytest.mark.parametrize(("block", "options"), ENCODERS, ids=str)


def built(block: str = "sparse", options: dict[str, Any] = SPARSE) -> SequenceScorer:
    draws = torch.Generator().manual_seed(0)
    encoder = Encoder(block, dim=DIM, num_layers=2, options=options, dropout=0.5, generator=draws)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=draws))
    item = torch.randn(NUM_ITEMS, DIM, generator=draws)
    item[COLD] = 0.0
    return SequenceScorer(item=item, encoder=encoder.eval().requires_grad_(requires_grad=False))


def whole(scorer: SequenceScorer, history: list[int]) -> Tensor:
    """The user vector of a full pass."""
    told = Queries(users=torch.tensor([-1]), histories=Histories.from_lists([history]))
    return scorer.user_vectors(told)[0]


def begun(scorer: SequenceScorer, history: list[int]) -> SequenceState:
    return scorer.begin(torch.tensor(history, dtype=torch.int64))


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@EACH
def test_after_every_event_it_says_what_a_full_pass_says(block: str, options: dict[str, Any]) -> None:
    scorer = built(block, options)
    state = begun(scorer, [])
    close(state.vector, whole(scorer, []))
    for length, item in enumerate(HISTORY, start=1):
        state.append(item)
        expected = whole(scorer, HISTORY[:length])
        close(state.vector, expected)
        close(state.scores(slice(2, 7)), scorer.item[2:7] @ expected)
    assert len(state) == len(HISTORY)


def test_events_are_read_as_their_own_vectors_where_there_are_such() -> None:
    event = torch.randn(NUM_ITEMS, DIM, generator=torch.Generator().manual_seed(5))
    scorer = replace(built(), event=event)
    state = begun(scorer, HISTORY[:5])
    for length in range(5, len(HISTORY)):
        close(state.vector, whole(scorer, HISTORY[:length]))
        state.append(HISTORY[length])
    close(state.clone().scores(slice(0, 9)), scorer.item[:9] @ whole(scorer, HISTORY))


@EACH
def test_from_any_prefix_it_goes_on_as_if_it_had_been_appended(block: str, options: dict[str, Any]) -> None:
    scorer = built(block, options)
    for length in range(13):
        state = begun(scorer, HISTORY[:length])
        close(state.vector, whole(scorer, HISTORY[:length]))
        if length % 4 in (2, 3):  # what ends and opens a block
            for item in HISTORY[length:13]:
                state.append(item)
            close(state.vector, whole(scorer, HISTORY[:13]))


@EACH
def test_a_clone_goes_its_own_way(block: str, options: dict[str, Any]) -> None:
    scorer = built(block, options)
    state = begun(scorer, HISTORY[:6])
    other = state.clone()
    for item in (7, 7, 0, 10):
        other.append(item)
    for item in HISTORY[6:]:
        state.append(item)
    close(state.vector, whole(scorer, HISTORY))
    close(other.vector, whole(scorer, [*HISTORY[:6], 7, 7, 0, 10]))
    assert (len(state), len(other)) == (len(HISTORY), 10)


def test_events_of_items_without_a_vector_are_passed_over() -> None:
    scorer = built()
    state = begun(scorer, [COLD, 3, COLD])
    state.append(COLD)
    state.append(1)
    close(state.vector, whole(scorer, [3, 1]))
    assert len(state) == 2
    assert state.scores(slice(COLD, NUM_ITEMS)).tolist() == [0.0]


def test_what_it_holds_grows_with_the_events_alone() -> None:
    scorer = built()
    one, four = (begun(scorer, [1] * length).nbytes for length in (511, 2047))
    assert 3.5 < four / one < 4.5


@pytest.mark.parametrize("row", [-1, NUM_ITEMS])
def test_a_row_that_is_no_item_is_refused_and_nothing_changes(row: int) -> None:
    state = begun(built(), [1, 2])
    before = state.vector.clone()
    with pytest.raises(DataError, match=f"expected the row of an item, 0 to 11, got {row}"):
        state.append(row)
    assert torch.equal(state.vector, before)
    assert len(state) == 2


def test_borders_by_content_and_blocks_without_a_step_are_refused() -> None:
    scorer = built()
    borders = ContentBorders(content=scorer.item, below=0.0, block=4)
    with pytest.raises(ConfigError, match="expected blocks of so many events, got borders by content"):
        SequenceScorer(item=scorer.item, encoder=scorer.encoder, borders=borders).begin(torch.tensor([1]))
    with pytest.raises(ConfigError, match="got one of HstuBlock; score its histories whole"):
        begun(built("hstu", {"heads": 2}), [1])
