"""The law of companions holds, and cheaper rules do not know it."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from fuserec.errors import ConfigError
from fuserec.testing.planted import Companions, companions

BLOCK, PAIRS, RETURNS = 8, 6, 3


def drawn(seed: int = 0, **options: int) -> Companions:
    return companions(200, generator=torch.Generator().manual_seed(seed), **options)


def blocks(found: Companions) -> list[list[list[int]]]:
    """Of each user and block the interests of its items, -1 for the opening."""
    interests: list[list[list[int]]] = found.interest[found.histories.items].view(200, -1, BLOCK).tolist()
    return interests


def told_blocks(found: Companions) -> list[int]:
    return torch.nonzero(found.told.view(200, -1, BLOCK)[0].any(1))[:, 0].tolist()


def test_who_knows_the_law_predicts_the_interest_of_every_told_block() -> None:
    found = drawn()
    for history in blocks(found):
        for number in told_blocks(found):
            last = set(history[number - 1]) - {-1}
            assert len(last) == 1
            pair = next(set(block) - {-1} for block in history[:PAIRS] if last < set(block))
            assert set(history[number]) - {-1} == pair - last


def test_a_history_is_mixed_blocks_and_then_pairs_of_blocks_of_one_interest() -> None:
    found = drawn()
    assert told_blocks(found) == [PAIRS + 1, PAIRS + 3, PAIRS + 5]
    assert found.told.sum().item() == 200 * RETURNS
    for history in blocks(found):
        assert all(block[0] == -1 for block in history)
        assert [len(set(block[1:])) for block in history] == [2] * PAIRS + [1] * 2 * RETURNS


def test_pairs_are_each_users_own() -> None:
    pairs = {tuple(sorted(set(block[1:]))) for history in blocks(drawn()) for block in history[:PAIRS]}
    assert len(pairs) == 2 * PAIRS * (2 * PAIRS - 1) / 2  # any two of the interests


def test_the_last_the_most_frequent_and_the_usual_next_interest_predict_little() -> None:
    found = drawn()
    interests = 2 * PAIRS
    usual = torch.zeros(interests, interests)
    for history in blocks(drawn(1)):
        for one, other in pairwise(history[PAIRS:]):
            usual[one[1], other[1]] += 1
    hits = {"last": 0, "most frequent": 0, "usual": 0}
    for history in blocks(found):
        for number in told_blocks(found):
            wanted, last = history[number][1], history[number - 1][1]
            counts = torch.tensor([item for block in history[:number] for item in block[1:]]).bincount()
            hits["last"] += last == wanted
            hits["most frequent"] += int(counts.argmax()) == wanted
            hits["usual"] += int(usual[last].argmax()) == wanted
    assert hits["last"] == hits["most frequent"] == 0
    assert hits["usual"] / (200 * RETURNS) < 0.2


def test_events_left_out_at_the_beginning_change_nothing_after_them() -> None:
    whole, cut = drawn(), drawn(left_out=1)
    assert torch.equal(whole.told.view(200, -1)[:, 1:], cut.told.view(200, -1))
    items = whole.histories.items.view(200, -1)
    assert torch.equal(items[:, 1:], cut.histories.items.view(200, -1))


def test_every_item_is_a_row_and_the_opening_is_the_first() -> None:
    found = drawn(items_per_interest=3)
    assert found.num_items == 1 + 3 * 2 * PAIRS
    assert found.histories.items.unique().tolist() == list(range(found.num_items))
    assert found.interest.tolist() == [-1, *(n // 3 for n in range(3 * 2 * PAIRS))]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"block": 2}, "block must be at least 3, an opening and two interests, got 2"),
        ({"returns": 7}, "expected 1 .. 6 returns, one for each pair at most, got 7"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, int], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        drawn(**options)
