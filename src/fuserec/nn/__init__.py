"""Thin modules that models share."""

from fuserec.nn.collaborative import Collaborative, xavier_linear, xavier_uniform
from fuserec.nn.frozen_graph import FrozenGraph
from fuserec.nn.pruned_graph import PrunedGraph, ThinnedGraph

__all__ = [
    "Collaborative",
    "FrozenGraph",
    "PrunedGraph",
    "ThinnedGraph",
    "xavier_linear",
    "xavier_uniform",
]
