"""Thin modules that models share."""

from fuserec.nn.frozen_graph import FrozenGraph

__all__ = ["FrozenGraph"]
