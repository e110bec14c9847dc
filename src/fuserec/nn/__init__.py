"""Thin modules that models share."""

from fuserec.nn.collaborative import Collaborative, xavier_uniform
from fuserec.nn.frozen_graph import FrozenGraph

__all__ = ["Collaborative", "FrozenGraph", "xavier_uniform"]
