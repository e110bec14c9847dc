"""Products of a sparse matrix and vectors, by the kernel that suits their size.

A product gathers rows of x from all over. While x stays in the processor's cache, torch's CSR product is used; beyond that
every row comes from memory, and the sums of `embedding_bag`, which asks for rows ahead of their use, take a third of its time
(one thread, 64 columns, nanoseconds an entry: 61 and 81 against 17 and 32 at ten times Amazon Baby's size, 107 and
128 against 34 and 46 at a hundred times). The two round differently, so what stays in the cache keeps its numbers.

Shape legend
    N  rows   M  columns   D  width of vectors
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fuserec.shapes import Float

__all__ = ["add_product", "multiply"]

VALUES_IN_CACHE = 2**22
"""Values of x that are taken to stay in the cache: 16 MiB."""


def multiply(csr: Tensor, x: Float[Tensor, "M D"]) -> Float[Tensor, "N D"]:
    """``csr @ x`` of an (N, M) CSR tensor; not differentiable."""
    if _beyond_cache(x):
        return _gathered(csr, x)
    # asked for as a sum with nothing, torch neither clears nor copies the result first
    return torch.addmm(x.new_zeros(()), csr, x, beta=0.0)


def add_product(
    start: Float[Tensor, "N D"],
    csr: Tensor,
    x: Float[Tensor, "M D"],
    *,
    scale: float = 1.0,
    out: Tensor | None = None,
) -> Float[Tensor, "N D"]:
    """``scale * (start + csr @ x)`` of an (N, M) CSR tensor; not differentiable.

    Args:
        start: (N, D) what is added.
        csr: (N, M).
        x: (M, D).
        scale: of the whole.
        out: where the result goes, ``start`` allowed; None for a new tensor.
    """
    if _beyond_cache(x):
        # the scale goes to the matrix: it is a tenth of what a pass over the result would touch
        product = _gathered(csr, x, scale=scale).add_(start, alpha=scale)
        return product if out is None else out.copy_(product)
    return torch.addmm(start, csr, x, beta=scale, alpha=scale, out=out)


def _beyond_cache(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32 and x.numel() > VALUES_IN_CACHE


@torch.no_grad()
def _gathered(csr: Tensor, x: Tensor, *, scale: float = 1.0) -> Tensor:
    """``scale * csr @ x``: each row of the matrix is a bag of weighted rows of x."""
    return F.embedding_bag(
        csr.col_indices(),
        x,
        csr.crow_indices(),
        per_sample_weights=csr.values() if scale == 1.0 else scale * csr.values(),
        mode="sum",
        include_last_offset=True,
    )
