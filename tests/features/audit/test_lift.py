from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.batch import Corpus, Pairs
from fuserec.features.audit.lift import MATCHED, Listing, lifts, matched_items
from fuserec.testing.corpora import NUM_GROUPS, tiny_corpus


def corpus(*histories: list[int], num_items: int) -> Corpus:
    pairs = [(user, item) for user, history in enumerate(histories) for item in history]
    users, items = torch.tensor(pairs).unbind(1)
    return Corpus(num_users=len(histories), num_items=num_items, train=Pairs(users=users, items=items))


def listing(*neighbours: list[int]) -> Listing:
    return Listing(neighbours=torch.tensor(neighbours), present=torch.ones(len(neighbours), dtype=torch.bool))


def test_a_lift_that_a_person_can_compute() -> None:
    # 0 and 1 share two users, 2 and 3 share two, every other pair shares none; all items have two users
    shop = corpus([0, 1], [0, 1], [2, 3], [2, 3], num_items=4)
    (found,) = lifts(shop, [listing([1], [0], [3], [2])], seed=0)
    assert (found.pairs, found.shared, found.chance) == (4, 2.0, 0.0)
    assert found.lift is None
    (found,) = lifts(shop, [listing([1, 2], [0, -1], [-1, -1], [-1, -1])], seed=0)
    # of 0 with 1: in its place stand 2 and 3, sharing nothing; of 0 with 2: 1 (two users) and 3; of 1 with 0: 2, 3
    assert (found.pairs, found.shared, found.chance) == (3, 4 / 3, 1 / 3)
    assert found.lift == 4.0
    # 0 has 2 shared and 1 by chance, 1 has 2 and 0: ((2 - 4 * 1)^2 + (2 - 4 * 0)^2)^(1/2) / 1
    assert found.error == pytest.approx(8**0.5)


def test_a_pair_that_stands_twice_counts_once() -> None:
    once, twice = (corpus(*[[0, 1, 2], [0, 2]] * n, num_items=3) for n in (1, 1))
    again = Pairs(users=twice.train.users.repeat(3), items=twice.train.items.repeat(3))
    thrice = Corpus(num_users=2, num_items=3, train=again)
    listed = [listing([1], [2], [0])]
    assert lifts(once, listed, seed=0) == lifts(thrice, listed, seed=0)


def test_pairs_of_one_item_that_stand_often_make_it_no_more_popular() -> None:
    shop = corpus(*[list(range(user, 20)) for user in range(20)], num_items=20)
    often = torch.cat([torch.arange(len(shop.train)), torch.zeros(30, dtype=torch.int64)])
    heavy = Pairs(users=shop.train.users[often], items=shop.train.items[often])
    listed = [listing(*([(item + 1) % 20] for item in range(20)))]
    assert lifts(Corpus(num_users=20, num_items=20, train=heavy), listed, seed=0) == lifts(
        shop, listed, seed=0
    )


def test_the_item_itself_never_stands_for_chance() -> None:
    # in the place of 1 beside 0 stand 2 and 0 itself, which shares all of its users with itself
    shop = corpus([0, 1], [0], [2], num_items=3)
    (found,) = lifts(shop, [listing([1], [-1], [-1])], seed=0)
    assert (found.shared, found.chance) == (1.0, 0.0)


@given(num_items=st.integers(1, 40), seed=st.integers(0, 9), absent=st.integers(0, 20))
@settings(max_examples=40, deadline=None)
def test_matched_items_are_present_others_next_to_it_in_popularity(
    num_items: int, seed: int, absent: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    popularity = torch.randint(0, 8, (num_items,), generator=generator)
    present = torch.arange(num_items) >= min(absent, num_items)
    matched = matched_items(popularity, present, seed=seed)
    others = int(present.sum()) - 1
    assert matched.shape == (num_items, max(0, min(MATCHED, others)))
    for item in torch.nonzero(present).squeeze(1).tolist():
        row = matched[item].tolist()
        assert len(set(row)) == len(row)
        assert item not in row
        assert bool(present[row].all())
        # nobody left out stands strictly nearer on a side than those taken from it
        low, high = popularity[row].min() if row else 0, popularity[row].max() if row else 0
        left_out = [j for j in torch.nonzero(present).squeeze(1).tolist() if j not in row and j != item]
        own = popularity[item]
        assert not any(low < popularity[j] < own or own < popularity[j] < high for j in left_out)


def test_equally_popular_items_are_matched_at_random_and_not_by_their_rows() -> None:
    same = torch.ones(200, dtype=torch.int64)
    matched = matched_items(same, same > 0, seed=1)
    distance = (matched - torch.arange(200)[:, None]).abs().double().mean()
    assert distance > 40  # by row it would be 3
    assert not torch.equal(matched, matched_items(same, same > 0, seed=2))


def test_neighbours_of_the_planted_group_share_users_and_dealt_ones_do_not() -> None:
    shop = tiny_corpus(num_users=300, num_items=120, events_per_user=12, num_cold=0)
    rows = torch.arange(120)
    own = torch.stack([(rows + NUM_GROUPS * step) % 120 for step in range(1, 6)], 1)
    mixed = torch.randint(0, 119, (120, 5), generator=torch.Generator().manual_seed(0))
    mixed += mixed >= rows[:, None]
    everything = torch.ones(120, dtype=torch.bool)
    group, chance = lifts(shop, [Listing(neighbours=one, present=everything) for one in (own, mixed)], seed=0)
    assert group.lift is not None
    assert chance.lift is not None
    assert group.lift > 1.5
    assert abs(chance.lift - 1) < 4 * chance.error < 0.3


def test_features_that_know_popularity_alone_gain_nothing() -> None:
    """Users of very different activity take items by popularity: popular pairs share many users, which is no taste."""
    generator = torch.Generator().manual_seed(0)
    popularity = torch.arange(1, 201, dtype=torch.float64) ** 1.3
    histories = [
        torch.multinomial(popularity, int(size), generator=generator).tolist()
        for size in torch.randint(2, 60, (400,), generator=generator)
    ]
    shop = corpus(*histories, num_items=200)
    order = shop.popularity().argsort()
    neighbours = torch.zeros(200, 1, dtype=torch.int64)
    neighbours[order] = order.roll(1)[:, None]
    random = torch.randperm(200, generator=generator)[:, None]
    random[random.squeeze(1) == torch.arange(200)] = -1
    everything = torch.ones(200, dtype=torch.bool)
    like, any_ = lifts(
        shop, [Listing(neighbours=one, present=everything) for one in (neighbours, random)], seed=0
    )
    assert like.shared > 1.3 * any_.shared  # not matched, it would look like knowledge
    assert like.lift == pytest.approx(1.0, abs=0.05)


def test_the_lift_does_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = tiny_corpus(num_users=60, num_items=50, num_cold=4)
    neighbours = torch.stack([(torch.arange(50) + step) % 50 for step in (1, 2, 3)], 1)
    listed = [Listing(neighbours=neighbours, present=torch.ones(50, dtype=torch.bool))]
    whole = lifts(shop, listed, seed=0)
    monkeypatch.setattr("fuserec.ops.cooccurrence.COUNTS_IN_MEMORY", 7 * 50)
    assert lifts(shop, listed, seed=0) == whole
