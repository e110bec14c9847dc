"""Corpora with one known structure each, so that the part of a model that claims to find it can be held to that.

Each is a function of its sizes and a generator, and comes with the truth: which events are determined, and by what. What is
not determined is drawn at random, and cheaper rules (popularity, the last item, counts) say no more than they must.
"""

from fuserec.testing.planted.camps import Camps, camps
from fuserec.testing.planted.companions import Companions, companions
from fuserec.testing.planted.cross_genre import CrossGenre, cross_genre
from fuserec.testing.planted.far_blocks import FarBlocks, far_blocks
from fuserec.testing.planted.layout import corpus_of
from fuserec.testing.planted.long_histories import LongHistories, long_histories

__all__ = [
    "Camps",
    "Companions",
    "CrossGenre",
    "FarBlocks",
    "LongHistories",
    "camps",
    "companions",
    "corpus_of",
    "cross_genre",
    "far_blocks",
    "long_histories",
]
