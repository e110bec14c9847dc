"""Long histories are what their parameters say, at every scale."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fuserec.errors import ConfigError
from fuserec.testing.planted import LongHistories, corpus_of, long_histories

USERS, LENGTH, DISTANCE = 4, 5000, 1000


def drawn(seed: int = 0, **options: Any) -> LongHistories:
    sizes: dict[str, Any] = {"num_items": 400, "num_interests": 20, "distances": (DISTANCE,)}
    generator = torch.Generator().manual_seed(seed)
    return long_histories(USERS, LENGTH, generator=generator, **{**sizes, **options})


def test_a_copy_is_its_source_of_the_same_user_about_one_distance_back() -> None:
    found = drawn()
    copies = torch.nonzero(found.source >= 0)[:, 0]
    source, items, users = found.source[copies], found.histories.items, found.histories.rows()
    assert torch.equal(items[source], items[copies])
    assert torch.equal(users[source], users[copies])
    assert int((copies - source).min()) >= DISTANCE
    # no further than the old session had already gone on
    longest = int(torch.bincount(found.session).max())
    assert int((copies - source).max()) < DISTANCE + longest
    assert (
        0.3 < len(copies) / len(items) < 0.5
    )  # half of the sessions, after the first 1,000 events, if not cut


def test_inside_a_run_an_item_is_followed_by_the_next_of_its_interest() -> None:
    found = drawn()
    items = found.histories.items
    inside = torch.nonzero(~found.begins_run)[:, 0]
    assert torch.equal(items[inside], found.follows[items[inside - 1]])
    assert torch.equal(found.interest[found.follows], found.interest)
    assert found.follows.sort().values.tolist() == list(range(found.num_items))


def test_a_session_keeps_to_one_interest() -> None:
    found = drawn()
    interest = found.interest[found.histories.items]
    same = found.session[1:] == found.session[:-1]
    assert torch.equal(interest[1:][same], interest[:-1][same])


@pytest.mark.parametrize(("run", "session"), [(2.0, 20.0), (5.0, 60.0)])
def test_runs_and_sessions_have_about_the_lengths_asked_for(run: float, session: float) -> None:
    found = drawn(run=run, session=session, repeated=0.0)
    count = USERS * LENGTH
    assert count / (int(found.session[-1]) + 1) == pytest.approx(session, rel=0.15)
    # sessions cut runs short: one begins with each session, and at 1 / run of the other events
    begun = 1 / session + (1 - 1 / session) / run
    assert found.begins_run.float().mean().item() == pytest.approx(begun, rel=0.05)


def test_told_events_are_predicted_by_the_past_and_by_nothing_nearer() -> None:
    found, other = drawn(0), drawn(1)
    told = torch.nonzero(found.told())[:, 0]
    items = found.histories.items
    assert len(told) > 1000
    assert (found.session[told] == found.session[told - 1]).all()

    popular = corpus_of(other.histories, other.num_items).popularity().argmax()
    next_in_run = found.follows[items[told - 1]]
    assert (items[told] == popular).float().mean() < 0.03
    assert (items[told] == next_in_run).float().mean() < 0.15
    for back in range(1, 33):
        assert (items[told - back] == items[told]).float().mean() < 0.15


def test_the_item_before_predicts_what_stands_inside_runs_and_not_what_a_run_begins_with() -> None:
    found = drawn(run=4.0)
    items = found.histories.items
    hit = found.follows[items[:-1]] == items[1:]
    assert hit.float().mean().item() == pytest.approx(1 - 1 / 4, abs=0.06)


def test_popularity_is_skewed_as_asked() -> None:
    even, skewed = (
        corpus_of((found := drawn(skew=skew, repeated=0.0)).histories, found.num_items).popularity()
        for skew in (0.0, 1.2)
    )
    tenth = 400 // 10
    top = [
        (counts.sort(descending=True).values[:tenth].sum() / counts.sum()).item() for counts in (even, skewed)
    ]
    assert top[0] < 0.2
    assert top[1] > 0.35


def test_several_distances_are_all_there_and_none_reaches_before_the_beginning() -> None:
    found = drawn(distances=(100, 2000), session=10.0)
    copies = torch.nonzero(found.source >= 0)[:, 0]
    back = copies - found.source[copies]
    near, far = back < 1000, back >= 2000
    assert (near | far).all()
    assert near.sum() > 1000
    assert far.sum() > 1000
    assert not (found.source.view(USERS, LENGTH)[:, :100] >= 0).any()


def test_nothing_is_repeated_where_nothing_may_be() -> None:
    assert (drawn(repeated=0.0).source == -1).all()
    assert (drawn(distances=(LENGTH,)).source == -1).all()


def test_every_user_has_a_history_of_that_length_that_begins_with_a_session() -> None:
    found = drawn()
    assert found.histories.lengths.tolist() == [LENGTH] * USERS
    begins = found.histories.offsets[1:-1]
    assert (found.session[begins] != found.session[begins - 1]).all()
    assert found.begins_run[begins].all()


def test_the_same_seed_gives_the_same_histories_and_another_seed_others() -> None:
    assert torch.equal(drawn(3).histories.items, drawn(3).histories.items)
    assert not torch.equal(drawn(3).histories.items, drawn(4).histories.items)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"num_items": 401}, "num_items must be a multiple of num_interests, got 401 items and 20 interests"),
        ({"run": 0.5}, "run and session must be at least 1 event, got 0.5 and 30.0"),
        ({"distances": ()}, r"distances must be at least one, each of 1 event or more, got \(\)"),
        ({"repeated": 1.5}, "repeated must be 0 .. 1, a share of the sessions, got 1.5"),
    ],
)
def test_numbers_that_no_history_has_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        drawn(**options)
