"""Squared length of the embeddings that a batch touched.

Shape legend
    B  pairs   D  embedding width
"""

from __future__ import annotations

from torch import Tensor

from fuserec.shapes import Float

__all__ = ["embedding_l2"]


def embedding_l2(*parts: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
    """Sum of the squared entries of all parts, divided by the batch size B.

    Paper: TMFUN Eq. (10), the term of gamma, on layer-0 embeddings.

    Args:
        parts: (B, D) each, for example the users', positives' and negatives' embeddings.

    Returns:
        () the penalty; an embedding that stands twice in the batch counts twice.

    Example:
        >>> import torch
        >>> float(embedding_l2(torch.ones(2, 3), torch.zeros(2, 3)))
        3.0
    """
    total = parts[0].square().sum()
    for part in parts[1:]:
        total = total + part.square().sum()
    return total / len(parts[0])
