"""The law of far blocks holds, and cheaper rules do not know it."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from fuserec.errors import ConfigError
from fuserec.testing.planted import FarBlocks, corpus_of, far_blocks

BLOCK, CUES, FIRST, SLOTS, VARIANTS = 8, 3, 8, 5, 8


def drawn(seed: int = 0, **options: int) -> FarBlocks:
    return far_blocks(200, generator=torch.Generator().manual_seed(seed), **options)


def rows(found: FarBlocks) -> list[tuple[list[int], list[bool]]]:
    """Items of each user, and which are told."""
    length = int(found.histories.offsets[1])
    items, told = found.histories.items.view(-1, length), found.told.view(-1, length)
    return list(zip(items.tolist(), told.tolist(), strict=True))


def slot_of(item: int) -> int:
    return (item - FIRST) // VARIANTS % SLOTS


def by_the_law(items: list[int], event: int) -> int:
    """In the block where the cue of this block stood before, the item of the slot after the last item's."""
    cue = items[event // BLOCK * BLOCK]
    old = next(start for start in range(0, event, BLOCK) if cue in items[start : start + BLOCK])
    wanted = (slot_of(items[event - 1]) + 1) % SLOTS
    return next(item for item in items[old : old + BLOCK] if item >= FIRST and slot_of(item) == wanted)


def accuracy(found: FarBlocks, predicted: Tensor) -> float:
    return (predicted[found.told] == found.histories.items[found.told]).float().mean().item()


def test_who_knows_the_law_predicts_every_told_item() -> None:
    for items, told in rows(drawn()):
        for event in (event for event, known in enumerate(told) if known):
            assert by_the_law(items, event) == items[event]


def test_told_items_are_those_of_the_returns_but_the_first_of_each() -> None:
    found = drawn(returns=4)
    assert found.told.sum().item() == 200 * 4 * (SLOTS - 1)
    assert found.again.sum().item() == 200 * 4 * SLOTS
    assert (found.again | ~found.told).all()


@pytest.mark.parametrize("away", [1, 2, 3])
def test_the_source_holds_the_item_and_lies_as_far_back_as_asked(away: int) -> None:
    found = drawn(away=away, returns=2)
    again = torch.nonzero(found.again)[:, 0]
    source = found.source[again]
    items, users = found.histories.items, found.histories.rows()
    assert torch.equal(items[source], items[again])
    assert torch.equal(users[source], users[again])
    assert int((again - source).min()) > away * BLOCK
    assert (found.source[~found.again] == -1).all()


def test_the_item_one_block_before_a_told_item_is_another() -> None:
    found = drawn()
    users = found.histories.rows()
    told = torch.nonzero(found.told)[:, 0]
    same = found.histories.items[told - BLOCK] == found.histories.items[told]
    assert same.float().mean() < 0.05
    assert torch.equal(users[told - BLOCK], users[told])


def test_popularity_and_the_item_before_predict_few_of_the_told_items() -> None:
    train, test = drawn(0), drawn(1)
    popular = corpus_of(train.histories, train.num_items).popularity()
    popular[:FIRST] = 0  # cues are the most frequent, and never told
    most = popular.argmax().expand(len(test.told))
    assert accuracy(test, most) < 0.03

    follows = torch.zeros(train.num_items, train.num_items)
    for row, _ in rows(train):
        for one, other in pairwise(row):
            follows[one, other] += 1
    before = test.histories.items.roll(1)
    assert accuracy(test, follows.argmax(1)[before]) < 2 / VARIANTS


def test_the_bag_of_the_history_with_interest_and_slot_known_predicts_less_than_half() -> None:
    """Of all items of that interest and slot that the user had: the latest."""
    hits = []
    for items, told in rows(drawn()):
        for event in (event for event, known in enumerate(told) if known):
            kind = (items[event] - FIRST) // VARIANTS
            had = [item for item in items[:event] if item >= FIRST and (item - FIRST) // VARIANTS == kind]
            hits.append(had[-1] == items[event])
    assert sum(hits) / len(hits) < 0.5


def test_events_left_out_at_the_beginning_change_nothing_after_them() -> None:
    whole, cut = drawn(), drawn(left_out=1)
    for name in ("told", "again"):
        assert torch.equal(getattr(whole, name).view(200, -1)[:, 1:], getattr(cut, name).view(200, -1))
    items = whole.histories.items.view(200, -1)
    assert torch.equal(items[:, 1:], cut.histories.items.view(200, -1))
    assert torch.equal(cut.histories.items[cut.source[cut.again]], cut.histories.items[cut.again])


def test_the_same_seed_gives_the_same_histories_and_another_seed_others() -> None:
    assert torch.equal(drawn(3).histories.items, drawn(3).histories.items)
    assert not torch.equal(drawn(3).histories.items, drawn(4).histories.items)


def test_every_item_is_a_row() -> None:
    found = drawn()
    assert found.histories.items.unique().tolist() == list(range(found.num_items))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cues": 7}, r"expected 1 .. 6 cues in a block of 8, got 7"),
        ({"cues": 0}, r"expected 1 .. 6 cues in a block of 8, got 0"),
        ({"returns": 6}, r"expected 1 .. 5 returns \(first - away - 1\), got 6"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, int], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        drawn(**options)
