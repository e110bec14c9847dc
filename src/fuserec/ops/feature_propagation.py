"""Feature propagation: items without features take them from the items that share users with them.

E. Rossi et al., "On the unreasonable effectiveness of feature propagation in learning on graphs with missing node features"
(LoG 2022), arXiv 2111.12128, whose iteration this is; D. Malitesta et al., "Do we really need to drop items with missing
modalities in multimodal recommendation?" (CIKM 2024), arXiv 2408.11767, which takes it to the graph of items that users have
in common. How that graph is thinned out is ours: the strongest neighbours of each item, in either direction.

Shape legend
    U  users   I  items   W  width of the features   K  neighbours
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuserec.batch import KnnGraph, Pairs
from fuserec.errors import ConfigError
from fuserec.ops.cooccurrence import cooccurrence_blocks, cooccurrence_reference
from fuserec.ops.graph import SparseMatrix, knn_adjacency, propagate
from fuserec.ops.topk import topk
from fuserec.shapes import Bool, Float

__all__ = [
    "fill_from_neighbours",
    "fill_from_neighbours_reference",
    "shared_users_graph",
    "shared_users_graph_reference",
]


def shared_users_graph(pairs: Pairs, *, num_users: int, num_items: int, neighbours: int) -> SparseMatrix:
    """The items with which each item shares the most users, normalised: D^-1/2 max(S, S^T) D^-1/2.

    S_ij is the number of users who have both items, where j is among the ``neighbours`` best of i (of equal numbers the
    lower row first), else 0. An item that shares no user has an empty row.

    Args:
        pairs: training pairs; one that stands twice counts once.
        num_users: U.
        num_items: I.
        neighbours: K, at least 1.

    Returns:
        (I, I), symmetric.

    Raises:
        ConfigError: ``neighbours`` is below 1.
    """
    if neighbours < 1:
        raise ConfigError(f"expected neighbours of at least 1, got {neighbours}")
    best = []
    for rows, counts_NI in cooccurrence_blocks(pairs, num_users=num_users, num_items=num_items):
        counts_NI.diagonal(rows.start).zero_()
        best.append(topk([counts_NI.masked_fill_(counts_NI == 0, -torch.inf)], min(neighbours, num_items)))
    weights, columns = (torch.cat(parts) for parts in zip(*best, strict=True))
    graph = KnnGraph(neighbours=columns, weights=torch.where(columns < 0, 0.0, weights))
    return knn_adjacency(graph, torch.ones(num_items, dtype=torch.bool), self_loops=False)


def shared_users_graph_reference(
    pairs: Pairs, *, num_users: int, num_items: int, neighbours: int
) -> Float[Tensor, "I I"]:
    """`shared_users_graph`, literally: dense counts, every row sorted in full."""
    counts_II = cooccurrence_reference(pairs, num_users=num_users, num_items=num_items).fill_diagonal_(0)
    kept_II = torch.zeros_like(counts_II)
    best_IK = counts_II.sort(dim=1, descending=True, stable=True).indices[:, :neighbours]
    kept_II.scatter_(1, best_IK, counts_II.gather(1, best_IK))
    kept_II = torch.maximum(kept_II, kept_II.T)
    root_I = kept_II.sum(1).clamp_min(1).rsqrt()
    return root_I[:, None] * kept_II * root_I


def fill_from_neighbours(
    graph: SparseMatrix, features: Float[Tensor, "I W"], known: Bool[Tensor, " I"], *, steps: int
) -> tuple[Float[Tensor, "I W"], Bool[Tensor, " I"]]:
    """X <- S X, ``steps`` times, from zero where a row is not known; known rows are put back each time.

    Paper: Rossi et al., Algorithm 1. With more steps the rows come as near as one likes to those that minimise the Dirichlet
    energy of the graph, X_u = (1 - S_uu)^-1 S_uk X_k.

    Args:
        graph: (I, I) weights of at least 0, such as `shared_users_graph`.
        features: (I, W); rows that are not known are not read.
        known: (I,) rows that are there.
        steps: at least 1; an item further than so many neighbours from every known one stays without.

    Returns:
        (I, W) the features, zero where there is still none, and (I,) the rows that are there now.

    Raises:
        ConfigError: ``steps`` is below 1.

    Example:
        >>> pairs = Pairs(users=torch.tensor([0, 0]), items=torch.tensor([0, 1]))
        >>> graph = shared_users_graph(pairs, num_users=1, num_items=3, neighbours=1)
        >>> known = torch.tensor([True, False, False])
        >>> filled, there = fill_from_neighbours(graph, torch.tensor([[2.0], [9.0], [9.0]]), known, steps=1)
        >>> filled.tolist(), there.tolist()
        ([[2.0], [2.0], [0.0]], [True, True, False])
    """
    if steps < 1:
        raise ConfigError(f"expected steps of at least 1, got {steps}")
    filled_IW = torch.where(known[:, None], features, 0.0)
    there_I = known
    for _ in range(steps):
        filled_IW = torch.where(known[:, None], features, propagate(graph, filled_IW))
        # ones and zeros again after each step: products of small weights would end as zero
        there_I = known | (propagate(graph, there_I.to(features.dtype)[:, None])[:, 0] > 0)
    return filled_IW, there_I


def fill_from_neighbours_reference(
    graph: Float[Tensor, "I I"], features: Float[Tensor, "I W"], known: Bool[Tensor, " I"], *, steps: int
) -> tuple[Float[Tensor, "I W"], Bool[Tensor, " I"]]:
    """`fill_from_neighbours`, literally: item by item, over the dense graph."""
    now = {item: features[item] for item in range(len(known)) if known[item]}
    for _ in range(steps):
        after = {item: row for item, row in now.items() if known[item]}
        for item in range(len(known)):
            givers = [other for other in now if graph[item, other] > 0]
            if not known[item] and givers:
                after[item] = torch.stack([graph[item, other] * now[other] for other in givers]).sum(0)
        now = after
    nothing = torch.zeros(features.shape[1], dtype=features.dtype)
    rows = [now.get(item, nothing) for item in range(len(known))]
    return torch.stack(rows), torch.tensor([item in now for item in range(len(known))], dtype=torch.bool)
