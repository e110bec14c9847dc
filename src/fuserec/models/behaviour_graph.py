"""Items that behaviour alone ties together, as a graph beside those of content.

Shape legend
    I  items   K  neighbours
"""

from __future__ import annotations

import torch

from fuserec.batch import Corpus
from fuserec.models.ease import ease_weights
from fuserec.ops.graph import SparseMatrix

__all__ = ["behaviour_graph"]


def behaviour_graph(corpus: Corpus, *, k: int, regularisation: float, max_items: int) -> SparseMatrix:
    """D_r^-1/2 B D_c^-1/2 of each item's largest weights in EASE, those above 0 only.

    Row j holds the items i whose presence in a history speaks most for j: B_ji = K_ij. D_r and D_c are the sums of
    B's rows and columns. A cold item has an empty row and an empty column.

    Paper: none; docs/papers/tmfun_plus.md, Eq. (2).

    Args:
        corpus: its training pairs are used.
        k: neighbours of an item, at least 1; no more than the I - 1 others are taken.
        regularisation: EASE's lambda, above 0.
        max_items: a larger catalogue is refused.

    Returns:
        (I, I) graph, in general not symmetric.

    Raises:
        ConfigError: the catalogue is larger than ``max_items``, or EASE cannot be solved.
    """
    weights_II = ease_weights(corpus, regularisation, max_items=max_items)
    values_KI, source_KI = weights_II.topk(min(k, corpus.num_items - 1), dim=0)
    item_KI = torch.arange(corpus.num_items).expand_as(source_KI)
    used = values_KI > 0
    rows, columns, values = item_KI[used], source_KI[used], values_KI[used]
    of_row = torch.zeros(corpus.num_items).index_add(0, rows, values)
    of_column = torch.zeros(corpus.num_items).index_add(0, columns, values)
    return SparseMatrix.from_entries(
        rows,
        columns,
        values / (of_row[rows] * of_column[columns]).sqrt(),
        shape=(corpus.num_items, corpus.num_items),
    )
