from __future__ import annotations

from typing import ClassVar

import torch

from fuserec.batch import Corpus, Histories, Pairs, Queries
from fuserec.models.popularity import Popularity, PopularityConfig
from fuserec.testing.contract import ModelContract


class TestPopularity(ModelContract):
    model: ClassVar = Popularity
    config: ClassVar = PopularityConfig()
    ignores_item_order: ClassVar[bool] = True


def test_everybody_gets_the_training_counts() -> None:
    train = Pairs(users=torch.tensor([0, 1, 1, 1]), items=torch.tensor([2, 2, 0, 2]))
    scorer = Popularity(PopularityConfig()).fit(Corpus(num_users=2, num_items=4, train=train))
    asked = Queries(users=torch.tensor([0, -1]), histories=Histories.from_lists([[2], []]))
    assert scorer.scores(asked, slice(0, 4)).tolist() == [[1.0, 0.0, 3.0, 0.0]] * 2
    assert scorer.scores(asked, slice(2, 3)).tolist() == [[3.0]] * 2


def test_masking_one_row_of_scores_leaves_the_others_alone() -> None:
    train = Pairs(users=torch.tensor([0]), items=torch.tensor([0]))
    scorer = Popularity(PopularityConfig()).fit(Corpus(num_users=1, num_items=2, train=train))
    asked = Queries(users=torch.tensor([0, -1]), histories=Histories.from_lists([[0], []]))
    scores = scorer.scores(asked, slice(0, 2))
    scores[0, 0] = -torch.inf
    assert scores[1].tolist() == [1.0, 0.0]
    assert scorer.scores(asked, slice(0, 2))[0].tolist() == [1.0, 0.0]
