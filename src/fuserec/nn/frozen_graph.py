"""A constant graph that moves with its module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fuserec.ops.graph import SparseMatrix

__all__ = ["FrozenGraph"]


class FrozenGraph(nn.Module):
    """Holds a `SparseMatrix` as buffers, so that ``module.to(device)`` takes it along.

    The buffers are not part of the saved state: a graph is rebuilt from the corpus.
    """

    _forward: Tensor
    _backward: Tensor | None

    def __init__(self, matrix: SparseMatrix) -> None:
        super().__init__()
        self.register_buffer("_forward", matrix.forward, persistent=False)
        self.register_buffer("_backward", None if matrix.symmetric else matrix.backward, persistent=False)

    @property
    def matrix(self) -> SparseMatrix:
        """The graph where the module now is."""
        return SparseMatrix(self._forward, self._forward if self._backward is None else self._backward)

    def replace(self, matrix: SparseMatrix) -> None:
        """Put another graph in its place, on the same device."""
        moved = matrix.to(torch.device(self._forward.device))
        self._forward, self._backward = moved.forward, None if moved.symmetric else moved.backward
