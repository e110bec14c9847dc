"""Losses: pure functions of tensors, one idea a file, unweighted (weights live in the recipe)."""

from fuserec.losses.bpr import bpr
from fuserec.losses.embedding_l2 import embedding_l2
from fuserec.losses.info_nce import info_nce, info_nce_reference

__all__ = ["bpr", "embedding_l2", "info_nce", "info_nce_reference"]
