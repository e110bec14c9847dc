"""Leading eigenvectors of a graph, where a modality has neighbours but no features.

Shape legend
    N  nodes   C  eigenvectors
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuserec.ops.graph import SparseMatrix
from fuserec.shapes import Float

__all__ = ["leading_eigenvectors"]


def leading_eigenvectors(
    matrix: SparseMatrix, count: int, *, generator: torch.Generator, iterations: int = 30
) -> Float[Tensor, "N C"]:
    """Orthonormal eigenvectors of the largest eigenvalues of (A + A^T) / 2, largest first.

    Subspace iteration with Rayleigh-Ritz on A + I (a normalised graph has its eigenvalues in -1 .. 1, so
    the shift makes the largest the dominant ones), with as many spare vectors as asked for up to 32.

    Args:
        matrix: (N, N) normalised graph.
        count: C, at least 1; at most N are returned.
        generator: draws the starting subspace.
        iterations: more bring later eigenvectors closer.
    """
    nodes = matrix.shape[0]
    count = min(count, nodes)
    width = min(nodes, count + 32)

    def shifted(x: Tensor) -> Tensor:
        return (matrix.forward @ x + matrix.backward @ x) / 2 + x

    basis: Tensor = torch.linalg.qr(
        torch.randn(nodes, width, dtype=matrix.forward.dtype, generator=generator)
    )[0]
    for _ in range(iterations):
        basis = torch.linalg.qr(shifted(basis))[0]
    small = basis.T @ shifted(basis)
    vectors: Tensor = torch.linalg.eigh((small + small.T) / 2)[1]
    return basis @ vectors.flip(1)[:, :count]
