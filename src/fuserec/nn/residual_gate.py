"""A gate between a branch and the stream that it is added to.

Shape legend
    any leading axes   D  width
"""

from __future__ import annotations

from torch import Tensor, nn

from fuserec.shapes import Float

__all__ = ["added"]


def added(
    stream: Float[Tensor, "*rows D"], branch: Float[Tensor, "*rows D"], *, gate: nn.Linear | None
) -> Float[Tensor, "*rows D"]:
    """Stream + sigmoid(W stream + b) * branch; without a gate their sum.

    Source: LiGR (arXiv 2502.03417). The gate reads the stream as it comes into the branch, before the normalisation; a row
    whose gate is shut keeps what it was.
    """
    return stream + branch if gate is None else stream + gate(stream).sigmoid() * branch
