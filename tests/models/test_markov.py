from __future__ import annotations

import dataclasses
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.batch import Corpus, Histories, Pairs, Queries
from fuserec.errors import ConfigError
from fuserec.models.markov import Markov, MarkovConfig, transitions
from fuserec.testing.contract import ModelContract, all_scores
from fuserec.testing.strategies import corpora

# The shape hook (beartype) looks at a random entry of each list it checks, which hypothesis warns about.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


class TestMarkov(ModelContract):
    model: ClassVar = Markov
    config: ClassVar = MarkovConfig(window=3, history=4)
    ignores_item_order: ClassVar[bool] = True


def corpus(*lists: list[int], num_items: int) -> Corpus:
    """Users' events alternate, as in a log."""
    events = [
        (user, history[place])
        for place in range(max(map(len, lists)))
        for user, history in enumerate(lists)
        if place < len(history)
    ]
    users, items = torch.tensor(events).T
    return Corpus(num_users=len(lists), num_items=num_items, train=Pairs(users=users, items=items))


def literal(corpus: Corpus, window: int) -> torch.Tensor:
    """The definition, event by event."""
    counts = torch.zeros(corpus.num_items, corpus.num_items)
    for user in range(corpus.num_users):
        items = corpus.train.items[corpus.train.users == user].tolist()
        for place, item in enumerate(items):
            for distance, later in enumerate(items[place + 1 : place + 1 + window], start=1):
                counts[item, later] += 1 / distance
    return counts


def test_transitions_by_hand() -> None:
    # user 0: 0 1 0; user 1: 1 2; user 2: 3 alone. Nothing leads from one user to the next.
    log = corpus([0, 1, 0], [1, 2], [3], num_items=4)
    counts = transitions(log, window=2).dense()
    assert counts.tolist() == [[0.5, 1.0, 0, 0], [1.0, 0, 1.0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert transitions(log, window=1).dense()[0].tolist() == [0, 1.0, 0, 0]


def test_scores_by_hand() -> None:
    config = MarkovConfig(window=2, history=2, decay=0.5, shrinkage=2.0, popularity_power=1.0)
    scorer = Markov(config).fit(corpus([0, 1, 0], [1, 2], [3], num_items=4))
    # popularity 2, 2, 1, 1; left: item 0 by 4, item 1 by 4
    row = {0: [0.5 / 4 / 2, 1 / 4 / 2, 0, 0], 1: [1 / 4 / 2, 0, 1 / 4 / 1, 0]}
    asked = Queries(users=torch.tensor([-1, 0]), histories=Histories.from_lists([[1], [2, 1, 0]]))
    last = [newest + 0.5 * older for newest, older in zip(row[0], row[1], strict=True)]
    assert all_scores(scorer, asked).tolist() == [row[1], last]


@settings(deadline=None, max_examples=25)
@given(corpora(), st.sampled_from([1, 2, 5, 50]))
def test_transitions_equal_the_literal_definition(drawn: Corpus, window: int) -> None:
    torch.testing.assert_close(transitions(drawn, window=window).dense(), literal(drawn, window))


def test_the_order_of_events_is_what_it_learns() -> None:
    log = corpus([0, 1, 2, 3], [1, 2, 3, 0], num_items=4)
    backwards = dataclasses.replace(
        log, train=Pairs(users=log.train.users.flip(0), items=log.train.items.flip(0))
    )
    forth, back = (transitions(each, window=3).dense() for each in (log, backwards))
    assert torch.equal(forth, back.T)
    assert not torch.equal(forth, back)


def test_without_any_pair_all_scores_are_0() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    scorer = Markov(MarkovConfig()).fit(Corpus(num_users=1, num_items=3, train=Pairs(users=none, items=none)))
    asked = Queries(users=torch.tensor([0]), histories=Histories.from_lists([[1, 2]]))
    assert all_scores(scorer, asked).tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("window", 0, "window must be at least 1, got 0"),
        ("history", 0, "history must be at least 1, got 0"),
        ("decay", 0.0, "decay must be above 0 and at most 1, got 0"),
        ("decay", 1.5, "decay must be above 0 and at most 1, got 1.5"),
        ("shrinkage", -1.0, "shrinkage must be at least 0, got -1"),
        ("popularity_power", float("nan"), "popularity_power must be at least 0, got nan"),
    ],
)
def test_impossible_options_are_refused(option: str, value: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MarkovConfig(**{option: value})  # type: ignore[arg-type]
