"""Which items are like this one, by what the scorer has learnt.

Shape legend
    I  items   D  width
"""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from fuserec.errors import ConfigError
from fuserec.models.item_to_item import ItemToItem
from fuserec.models.protocol import Scorer
from fuserec.models.sequence_scorer import SequenceScorer
from fuserec.models.transition_table import TransitionTable
from fuserec.models.two_tower import TwoTower

__all__ = ["neighbour_scorer"]


def neighbour_scorer(scorer: Scorer) -> Scorer:
    """A scorer whose score for the query of user row i with the history [i] is the similarity to item i.

    Two towers and sequences: the cosine of the item vectors, 0 where a vector is zero; items take the place of the users.
    What a sequence model expects after item i is another question, which a history of i alone asks.
    Item-to-item weights: row i as it stands, with the direction the model gave it. Asking by columns would answer
    another question, whose owners get item i, and EASE's rows and columns differ. A transition table likewise: what
    follows item i.

    Raises:
        ConfigError: the scorer holds nothing that relates one item to another.
    """
    if isinstance(scorer, ItemToItem | TransitionTable):
        return scorer
    if isinstance(scorer, TwoTower | SequenceScorer):
        unit = normalize(scorer.item, dim=1)  # (I, D)
        return TwoTower(user=unit, item=unit, fold=unit, foldable=torch.ones(len(unit), dtype=torch.bool))
    raise ConfigError(
        f"expected a model that relates items to each other, got the scorer {scorer.kind!r}, which does not; "
        "train another one, for example item_knn or lightgcn"
    )
