from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.batch import Corpus, Pairs
from fuserec.errors import ConfigError
from fuserec.models.ease import Ease, EaseConfig, ease_weights
from fuserec.testing.contract import ModelContract
from fuserec.testing.corpora import tiny_corpus
from fuserec.testing.strategies import corpora

# The shape hook (beartype) looks at a random entry of each list it checks, which hypothesis warns about.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


class TestEase(ModelContract):
    model: ClassVar = Ease
    config: ClassVar = EaseConfig(regularisation=10.0)
    ignores_item_order: ClassVar[bool] = True


def literal(corpus: Corpus, regularisation: float) -> torch.Tensor:
    """One ridge regression an item, on all items but itself: the problem, not its closed form."""
    interactions = torch.zeros(corpus.num_users, corpus.num_items, dtype=torch.float64)
    interactions[corpus.train.users, corpus.train.items] = 1
    weights = torch.zeros(corpus.num_items, corpus.num_items, dtype=torch.float64)
    for item in range(corpus.num_items):
        others = torch.arange(corpus.num_items) != item
        x, y = interactions[:, others], interactions[:, item]
        ridge = x.T @ x + regularisation * torch.eye(corpus.num_items - 1, dtype=torch.float64)
        weights[others, item] = torch.linalg.solve(ridge, x.T @ y)
    return weights.float()


def test_two_items_by_hand() -> None:
    # Item 0 has users 0, 1; item 1 has user 1 (twice, counted once). Column 1 regresses item 1 on item 0:
    # 1 common user / (2 + lambda); column 0: 1 / (1 + lambda).
    train = Pairs(users=torch.tensor([0, 1, 1, 1]), items=torch.tensor([0, 0, 1, 1]))
    corpus = Corpus(num_users=2, num_items=2, train=train)
    expected = torch.tensor([[0.0, 1 / 4], [1 / 3, 0.0]])
    torch.testing.assert_close(ease_weights(corpus, 2.0, max_items=2), expected)


@settings(deadline=None, max_examples=25)
@given(corpora(), st.sampled_from([0.1, 5.0, 500.0]))
def test_the_closed_form_solves_every_ridge_regression(corpus: Corpus, regularisation: float) -> None:
    weights = ease_weights(corpus, regularisation, max_items=100)
    torch.testing.assert_close(weights, literal(corpus, regularisation), rtol=1e-4, atol=1e-5)
    assert not weights.diagonal().any()


@settings(deadline=None, max_examples=25)
@given(corpora(), st.integers(0, 999))
def test_the_order_of_users_and_of_events_does_not_matter(corpus: Corpus, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    renamed = torch.randperm(corpus.num_users, generator=rng)
    order = torch.randperm(len(corpus.train), generator=rng)
    shuffled = Corpus(
        num_users=corpus.num_users,
        num_items=corpus.num_items,
        train=Pairs(users=renamed[corpus.train.users][order], items=corpus.train.items[order]),
    )
    weights = ease_weights(corpus, 3.0, max_items=100)
    assert torch.equal(ease_weights(shuffled, 3.0, max_items=100), weights)


def test_a_cold_item_gets_and_gives_nothing() -> None:
    corpus = tiny_corpus()
    cold = corpus.popularity() == 0
    weights = ease_weights(corpus, 3.0, max_items=100)
    assert cold.any()
    assert not weights[cold].any()
    assert not weights[:, cold].any()


def test_what_cannot_be_solved_is_refused() -> None:
    corpus = tiny_corpus(num_items=30)
    with pytest.raises(
        ConfigError, match=r"expected at most max_items = 29 items .*, got 30 .*raise max_items"
    ):
        Ease(EaseConfig(max_items=29)).fit(corpus)
    # two items with the same users: without regularisation the Gram matrix is singular
    twins = Pairs(users=torch.tensor([0, 0]), items=torch.tensor([0, 1]))
    with pytest.raises(ConfigError, match=r"expected a regularisation large enough .*, got 1e-30; raise it"):
        Ease(EaseConfig(regularisation=1e-30)).fit(Corpus(num_users=1, num_items=2, train=twins))
    with pytest.raises(ConfigError, match=r"expected regularisation above 0, got 0\.0"):
        EaseConfig(regularisation=0.0)
    with pytest.raises(ConfigError, match="expected max_items of at least 1, got 0"):
        EaseConfig(max_items=0)
