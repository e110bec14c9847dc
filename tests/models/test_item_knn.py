from __future__ import annotations

from math import sqrt
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.batch import Corpus, Pairs
from fuserec.errors import ConfigError
from fuserec.models.item_knn import ItemKnn, ItemKnnConfig, shrunk_cosine
from fuserec.testing.contract import ModelContract
from fuserec.testing.strategies import corpora

# The shape hook (beartype) looks at a random entry of each list it checks, which hypothesis warns about.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


class TestItemKnn(ModelContract):
    model: ClassVar = ItemKnn
    config: ClassVar = ItemKnnConfig(shrinkage=5.0)
    ignores_item_order: ClassVar[bool] = True


def literal(corpus: Corpus, shrinkage: float) -> torch.Tensor:
    """The definition, pair by pair."""
    users = [set(corpus.train.users[corpus.train.items == item].tolist()) for item in range(corpus.num_items)]
    weights = torch.zeros(corpus.num_items, corpus.num_items)
    for i, ours in enumerate(users):
        for j, theirs in enumerate(users):
            if i != j and ours & theirs:
                weights[i, j] = len(ours & theirs) / (sqrt(len(ours) * len(theirs)) + shrinkage)
    return weights


def test_shrunk_cosine_by_hand() -> None:
    # item 0: users 0, 1; item 1: users 0, 1; item 2: user 1; item 3: nobody. A repeated pair counts once.
    train = Pairs(users=torch.tensor([0, 1, 0, 1, 1, 1]), items=torch.tensor([0, 0, 1, 1, 2, 2]))
    corpus = Corpus(num_users=2, num_items=4, train=train)
    third = 1 / (sqrt(2) + 3)
    expected = [[0, 0.4, third, 0], [0.4, 0, third, 0], [third, third, 0, 0], [0, 0, 0, 0]]
    torch.testing.assert_close(shrunk_cosine(corpus, 3.0).dense(), torch.tensor(expected))
    assert shrunk_cosine(corpus, 0.0).dense()[0, 1] == 1.0


@settings(deadline=None, max_examples=25)
@given(corpora(), st.sampled_from([0.0, 1.0, 100.0]))
def test_weights_equal_the_literal_definition(corpus: Corpus, shrinkage: float) -> None:
    weights = shrunk_cosine(corpus, shrinkage).dense()
    torch.testing.assert_close(weights, literal(corpus, shrinkage))


def test_an_impossible_shrinkage_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected shrinkage of at least 0, got -1"):
        ItemKnnConfig(shrinkage=-1.0)
    with pytest.raises(ConfigError, match="expected shrinkage of at least 0, got nan"):
        ItemKnnConfig(shrinkage=float("nan"))
