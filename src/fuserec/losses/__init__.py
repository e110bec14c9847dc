"""Losses: pure functions of tensors, one idea a file, unweighted (weights live in the recipe)."""

from fuserec.losses.bpr import bpr
from fuserec.losses.collaborative_alignment import collaborative_alignment
from fuserec.losses.embedding_l2 import embedding_l2
from fuserec.losses.genre_discrepancy import genre_discrepancy, genre_discrepancy_reference
from fuserec.losses.info_nce import info_nce, info_nce_reference
from fuserec.losses.sampled_softmax import sampled_softmax, sampled_softmax_reference
from fuserec.losses.sliced_wasserstein import sliced_wasserstein
from fuserec.losses.softmax import softmax, softmax_reference
from fuserec.losses.structure import structure
from fuserec.losses.title_alignment import title_alignment
from fuserec.losses.uniformity import uniformity

__all__ = [
    "bpr",
    "collaborative_alignment",
    "embedding_l2",
    "genre_discrepancy",
    "genre_discrepancy_reference",
    "info_nce",
    "info_nce_reference",
    "sampled_softmax",
    "sampled_softmax_reference",
    "sliced_wasserstein",
    "softmax",
    "softmax_reference",
    "structure",
    "title_alignment",
    "uniformity",
]
