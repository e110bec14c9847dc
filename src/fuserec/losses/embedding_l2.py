"""Squared length of the embeddings that a batch touched.

Shape legend
    B  pairs   C  items of the pairs   D  embedding width
"""

from __future__ import annotations

from torch import Tensor

from fuserec.shapes import Float

__all__ = ["embedding_l2"]


def embedding_l2(users: Float[Tensor, "B D"], items: Float[Tensor, "C D"]) -> Float[Tensor, ""]:
    """Sum of the squared entries of a batch's embeddings, divided by its number of users B.

    Paper: TMFUN Eq. (10), the term of gamma, on layer-0 embeddings.

    Args:
        users: (B, D) embeddings of the users.
        items: (C, D) embeddings of the positives and the negatives.

    Returns:
        () the penalty; an embedding that stands twice in the batch counts twice.

    Example:
        >>> import torch
        >>> float(embedding_l2(torch.ones(2, 3), torch.ones(4, 3)))
        9.0
    """
    return (users.square().sum() + items.square().sum()) / len(users)
