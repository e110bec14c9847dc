"""Leading eigenvectors, for example of a graph where a modality has neighbours but no features.

Shape legend
    N  nodes   C  eigenvectors
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fuserec.ops.graph import SparseMatrix
from fuserec.shapes import Float

__all__ = ["leading_eigenpairs", "leading_eigenvectors"]


def leading_eigenvectors(
    matrix: SparseMatrix, count: int, *, generator: torch.Generator, iterations: int = 30
) -> Float[Tensor, "N C"]:
    """Orthonormal eigenvectors of the largest eigenvalues of (A + A^T) / 2, largest first.

    Args:
        matrix: (N, N) normalised graph.
        count: C, at least 1; at most N are returned.
        generator: draws the starting subspace.
        iterations: more bring later eigenvectors closer.
    """
    return leading_eigenpairs(
        lambda x: (matrix.forward @ x + matrix.backward @ x) / 2,
        count,
        nodes=matrix.shape[0],
        dtype=matrix.forward.dtype,
        generator=generator,
        iterations=iterations,
    )[1]


def leading_eigenpairs(
    product: Callable[[Tensor], Tensor],
    count: int,
    *,
    nodes: int,
    dtype: torch.dtype,
    generator: torch.Generator,
    iterations: int = 30,
) -> tuple[Float[Tensor, " C"], Float[Tensor, "N C"]]:
    """The largest eigenvalues of a symmetric matrix A, and their orthonormal eigenvectors, largest first.

    Subspace iteration with Rayleigh-Ritz on A + I (a normalised graph has its eigenvalues in -1 .. 1, so
    the shift makes the largest the dominant ones), with as many spare vectors as asked for up to 32.

    Args:
        product: x -> A x, of an (N, C) matrix.
        count: C, at least 1; at most N are returned.
        nodes: N.
        dtype: of the vectors.
        generator: draws the starting subspace.
        iterations: more bring later eigenvectors closer.
    """
    count = min(count, nodes)
    width = min(nodes, count + 32)

    def shifted(x: Tensor) -> Tensor:
        return product(x) + x

    basis: Tensor = torch.linalg.qr(torch.randn(nodes, width, dtype=dtype, generator=generator))[0]
    for _ in range(iterations):
        basis = torch.linalg.qr(shifted(basis))[0]
    small = basis.T @ shifted(basis)
    values, vectors = torch.linalg.eigh((small + small.T) / 2)
    return values.flip(0)[:count] - 1.0, basis @ vectors.flip(1)[:, :count]
