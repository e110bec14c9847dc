"""Thin modules that models share."""

from fuserec.nn.block_bias import BlockBias
from fuserec.nn.block_evolution import BlockEvolution
from fuserec.nn.block_state import BlockState
from fuserec.nn.causal_attention import CausalAttention
from fuserec.nn.collaborative import Collaborative
from fuserec.nn.draws import Draws, begin_draws
from fuserec.nn.dropout import Dropout
from fuserec.nn.frozen_graph import FrozenGraph
from fuserec.nn.gated_feed_forward import GatedFeedForward
from fuserec.nn.hstu import HstuBlock
from fuserec.nn.item_content import ItemContent
from fuserec.nn.ligr import LigrBlock
from fuserec.nn.linear import normal_linear, xavier_linear, xavier_uniform
from fuserec.nn.modality_fusion import Fused, FusionLayer
from fuserec.nn.negatives import Negatives
from fuserec.nn.pruned_graph import PrunedGraph, ThinnedGraph
from fuserec.nn.sparse_alignment import SparseAlignmentBlock
from fuserec.nn.sparse_attention import SparseAttention
from fuserec.nn.transformer import FeedForward, TransformerBlock

__all__ = [
    "BlockBias",
    "BlockEvolution",
    "BlockState",
    "CausalAttention",
    "Collaborative",
    "Draws",
    "Dropout",
    "FeedForward",
    "FrozenGraph",
    "Fused",
    "FusionLayer",
    "GatedFeedForward",
    "HstuBlock",
    "ItemContent",
    "LigrBlock",
    "Negatives",
    "PrunedGraph",
    "SparseAlignmentBlock",
    "SparseAttention",
    "ThinnedGraph",
    "TransformerBlock",
    "begin_draws",
    "normal_linear",
    "xavier_linear",
    "xavier_uniform",
]
