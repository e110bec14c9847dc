"""Thin modules that models share."""

from fuserec.nn.causal_attention import CausalAttention
from fuserec.nn.collaborative import Collaborative, xavier_linear, xavier_uniform
from fuserec.nn.dropout import Dropout
from fuserec.nn.frozen_graph import FrozenGraph
from fuserec.nn.item_content import ItemContent
from fuserec.nn.linear import normal_linear
from fuserec.nn.modality_fusion import Fused, FusionLayer
from fuserec.nn.pruned_graph import PrunedGraph, ThinnedGraph
from fuserec.nn.transformer import FeedForward, TransformerBlock

__all__ = [
    "CausalAttention",
    "Collaborative",
    "Dropout",
    "FeedForward",
    "FrozenGraph",
    "Fused",
    "FusionLayer",
    "ItemContent",
    "PrunedGraph",
    "ThinnedGraph",
    "TransformerBlock",
    "normal_linear",
    "xavier_linear",
    "xavier_uniform",
]
