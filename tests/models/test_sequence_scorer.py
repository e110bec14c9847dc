from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuserec.batch import Histories, Queries
from fuserec.errors import DataError
from fuserec.models import sequence_scorer
from fuserec.models.sequence_scorer import SequenceScorer, with_start
from fuserec.nn.encoder import Encoder
from fuserec.ops.blocks import Blocks

NUM_ITEMS, DIM = 12, 8
COLD = 11


def built(*, seed: int = 0, rate: float = 0.5) -> SequenceScorer:
    generator = torch.Generator().manual_seed(seed)
    encoder = Encoder(
        "transformer",
        dim=DIM,
        num_layers=2,
        options={"heads": 2, "hidden": 12},
        dropout=rate,
        generator=generator,
    )
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    item = torch.randn(NUM_ITEMS, DIM, generator=generator)
    item[COLD] = 0.0
    return SequenceScorer(item=item, encoder=encoder.eval().requires_grad_(requires_grad=False))


def untied() -> SequenceScorer:
    """Events are read as vectors of their own."""
    event = torch.randn(NUM_ITEMS, DIM, generator=torch.Generator().manual_seed(5))
    return replace(built(), event=event)


def asked(*histories: list[int], users: list[int] | None = None) -> Queries:
    return Queries(
        users=torch.tensor(users or [-1] * len(histories)), histories=Histories.from_lists(list(histories))
    )


def scores(scorer: SequenceScorer, queries: Queries) -> Tensor:
    return scorer.scores(queries, slice(0, scorer.num_items))


def literally(scorer: SequenceScorer, history: list[int]) -> Tensor:
    """The start, the events, and the encoder's last row."""
    x = torch.stack([scorer.encoder.start, *(scorer.read[item] for item in history)])
    user: Tensor = scorer.encoder(x, torch.tensor([0, len(x)]))[-1]
    return scorer.item @ user


@pytest.mark.parametrize("make", [built, untied])
def test_a_score_is_the_product_of_an_item_and_the_vector_after_the_last_event(
    make: Callable[[], SequenceScorer],
) -> None:
    scorer, histories = make(), [[3, 1, 4], [5], [9, 2, 6, 5, 3, 5]]
    expected = torch.stack([literally(scorer, history) for history in histories])
    torch.testing.assert_close(scores(scorer, asked(*histories)), expected)


def test_the_order_of_a_history_is_read_and_an_item_that_stands_twice_is_two_events() -> None:
    found = scores(built(), asked([3, 1, 4], [4, 1, 3], [3, 1, 4, 4]))
    assert not torch.allclose(found[0], found[1])
    assert not torch.allclose(found[0], found[2])


def test_an_empty_history_is_answered_from_the_start() -> None:
    scorer = built()
    found = scores(scorer, asked([], [1], []))
    torch.testing.assert_close(found[0], literally(scorer, []))
    torch.testing.assert_close(found[2], found[0])
    assert not torch.allclose(found[1], found[0])
    assert len(found[0].unique()) > 2


def test_a_trained_user_and_a_new_one_with_the_same_history_get_the_same() -> None:
    found = scores(built(), asked([2, 7], [2, 7], users=[0, -1]))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("make", [built, untied])
def test_events_of_items_without_a_vector_are_passed_over(make: Callable[[], SequenceScorer]) -> None:
    """Where events have vectors of their own, that of the candidate still says whether anything was learnt."""
    scorer = make()
    found = scores(scorer, asked([COLD, 3, COLD, 1, COLD], [COLD, COLD]))
    torch.testing.assert_close(found[0], literally(scorer, [3, 1]))
    torch.testing.assert_close(found[1], literally(scorer, []))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.integers(7, NUM_ITEMS - 1), max_size=6), max_size=5))
def test_what_is_heard_of_a_history_is_in_its_order(told: list[list[int]]) -> None:
    heard = built().heard(Histories.from_lists(told))
    expected = [[item for item in row if item != COLD] for row in told]
    assert heard.items.tolist() == [item for row in expected for item in row]
    assert heard.lengths.tolist() == list(map(len, expected))


def test_an_item_without_a_vector_scores_nought() -> None:
    assert not scores(built(), asked([1, 2]))[:, COLD].any()


@pytest.mark.parametrize("at_a_time", [1, 3, 5, 8, 1000])
def test_histories_read_in_portions_give_what_all_together_give(
    monkeypatch: pytest.MonkeyPatch, at_a_time: int
) -> None:
    scorer, queries = built(), asked([1, 2, 3], [], [4, 5, 6, 7, 8, 9, 1, 2], [], [3], [2, 1])
    expected = scores(scorer, queries)
    told: list[int] = []
    forward = scorer.encoder.forward

    def counting(x: Tensor, offsets: Tensor, blocks: Blocks | None = None) -> Tensor:
        told.append(len(x))
        found: Tensor = forward(x, offsets, blocks)
        return found

    monkeypatch.setattr(scorer.encoder, "forward", counting)
    monkeypatch.setattr(sequence_scorer, "EVENTS_AT_A_TIME", at_a_time)
    again = asked([1, 2, 3], [], [4, 5, 6, 7, 8, 9, 1, 2], [], [3], [2, 1])
    torch.testing.assert_close(scores(scorer, again), expected)
    assert sum(told) == 14 + 6, "each event and each start is read once"
    assert max(told) < at_a_time + 9


def test_a_history_is_read_once_for_all_blocks_of_items(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer, calls = built(), 0
    forward = scorer.encoder.forward

    def counting(x: Tensor, offsets: Tensor, blocks: Blocks | None = None) -> Tensor:
        nonlocal calls
        calls += 1
        found: Tensor = forward(x, offsets, blocks)
        return found

    monkeypatch.setattr(scorer.encoder, "forward", counting)
    queries, others = asked([1, 2]), asked([3])
    blocks = [scorer.scores(queries, slice(start, start + 4)) for start in (0, 4, 8)]
    assert calls == 1
    torch.testing.assert_close(torch.cat(blocks, dim=1), scores(scorer, queries))
    torch.testing.assert_close(scores(scorer, others)[0], literally(scorer, [3]))
    torch.testing.assert_close(scores(scorer, queries)[0], literally(scorer, [1, 2]))


def test_nobody_asks() -> None:
    nobody = Queries(users=torch.zeros(0, dtype=torch.int64), histories=Histories.from_lists([]))
    assert scores(built(), nobody).shape == (0, NUM_ITEMS)


@pytest.mark.parametrize("make", [built, untied])
def test_its_tensors_make_it_again_whatever_stood_in_the_encoder(make: Callable[[], SequenceScorer]) -> None:
    scorer = make()
    tensors = scorer.tensors()
    assert json.loads(bytes(tensors["description"].tolist()))["dim"] == DIM
    again = SequenceScorer.from_tensors(tensors)
    queries = asked([3, 1], [])
    assert torch.equal(scores(again, queries), scores(scorer, queries))
    assert not again.encoder.training
    assert not any(parameter.requires_grad for parameter in again.encoder.parameters())
    assert {name: tensor.tolist() for name, tensor in again.tensors().items()} == {
        name: tensor.tolist() for name, tensor in tensors.items()
    }


@pytest.mark.parametrize(
    ("name", "found", "told"),
    [
        ("item", torch.zeros(NUM_ITEMS, DIM + 1), f"{NUM_ITEMS} x {DIM + 1} numbers of float32"),
        ("event", torch.zeros(NUM_ITEMS - 2, DIM), f"{NUM_ITEMS - 2} x {DIM} numbers of float32"),
        ("event", torch.zeros(NUM_ITEMS, DIM, dtype=torch.int64), f"{NUM_ITEMS} x {DIM} numbers of int64"),
        ("event", torch.zeros(NUM_ITEMS), f"{NUM_ITEMS} numbers of float32"),
    ],
)
def test_vectors_that_do_not_fit_the_encoder_are_refused(name: str, found: Tensor, told: str) -> None:
    with pytest.raises(
        DataError, match=f"^expected {NUM_ITEMS} x {DIM} numbers of float32 as '{name}', got {told}$"
    ):
        SequenceScorer.from_tensors({**untied().tensors(), name: found})


def test_borders_have_a_row_for_every_item() -> None:
    borders = {"border": torch.zeros(NUM_ITEMS - 2, 3), "border_below": torch.tensor(0.0)}
    with pytest.raises(DataError, match=f"^expected {NUM_ITEMS} x 3 numbers of float32 as 'border', got "):
        SequenceScorer.from_tensors({**built().tensors(), **borders})


@pytest.mark.parametrize("row", [-1, NUM_ITEMS])
def test_a_user_is_not_followed_from_a_row_that_no_item_has(row: int) -> None:
    with pytest.raises(DataError, match=f"^expected rows of items, 0 to {NUM_ITEMS - 1}, got {row}$"):
        built().begin(torch.tensor([1, row]))


def test_the_start_stands_before_every_history() -> None:
    rows, offsets = with_start(Histories.from_lists([[], [1, 2], []]), start=7)
    assert rows.tolist() == [7, 7, 1, 2, 7]
    assert offsets.tolist() == [0, 1, 4, 5]
