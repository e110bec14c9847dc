"""Rotary positions: a product of two rotated vectors depends on their distance alone.

"RoFormer: Enhanced Transformer with Rotary Position Embedding", J. Su et al. arXiv 2104.09864.

Shape legend
    T  packed rows   H  heads   D  width of a head   P  pairs, D / 2   B  histories
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from fuserec.shapes import Float, Int

__all__ = ["positions", "rotate", "rotate_reference"]

BASE = 10_000.0
"""The slowest pair turns once in 2 pi BASE^(1 - 2/D) positions."""


def positions(offsets: Int[Tensor, " B_plus_1"]) -> Int[Tensor, " T"]:
    """(T,) the place of each row in its history, from 0.

    Args:
        offsets: (B + 1,) where each history begins, and T.

    Example:
        >>> positions(torch.tensor([0, 2, 2, 5])).tolist()
        [0, 1, 0, 1, 2]
    """
    starts = torch.repeat_interleave(offsets[:-1], offsets.diff(), output_size=int(offsets[-1]))
    return torch.arange(len(starts), device=offsets.device) - starts


def rotate(
    x: Float[Tensor, "T H D"], positions: Int[Tensor, " T"], *, base: float = BASE
) -> Float[Tensor, "T H D"]:
    """Row t turned by its position: pair p = (x_p, x_{p + D/2}) by the angle position * base^(-2p / D).

    Source: RoFormer Eq. (34), with the halves of a vector as partners, so that both are contiguous.

    Args:
        x: (T, H, D), D even.
        positions: (T,) from 0.
        base: of the angles.

    Example:
        >>> x = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]])
        >>> [round(value, 4) for value in rotate(x, torch.tensor([0, 1])).flatten().tolist()]
        [1.0, 0.0, 0.5403, 0.8415]
    """
    cos_TP, sin_TP = _turns(x, positions, base)
    rotated: Tensor = _Rotate.apply(x, cos_TP, sin_TP)  # type: ignore[no-untyped-call]
    return rotated


def rotate_reference(
    x: Float[Tensor, "T H D"], positions: Int[Tensor, " T"], *, base: float = BASE
) -> Float[Tensor, "T H D"]:
    """`rotate`, as a product of complex numbers."""
    first, second = x.chunk(2, dim=-1)
    cos_TP, sin_TP = _turns(x, positions, base)
    turned = torch.complex(first, second) * torch.complex(cos_TP, sin_TP)[:, None, :]
    return torch.cat([turned.real, turned.imag], dim=-1)


def _turns(
    x: Float[Tensor, "T H D"], positions: Int[Tensor, " T"], base: float
) -> tuple[Float[Tensor, "T P"], Float[Tensor, "T P"]]:
    """Cosine and sine of each row's angles, taken from a table of all positions in double."""
    pairs = x.shape[-1] // 2
    frequencies_P = base ** (-torch.arange(pairs, dtype=torch.float64, device=x.device) / pairs)
    length = int(positions.max()) + 1 if len(positions) else 0
    if length > len(positions):  # a far row alone: a table of all before it would cost more
        angles_TP = positions[:, None] * frequencies_P
        return angles_TP.cos().to(x.dtype), angles_TP.sin().to(x.dtype)
    angles_LP = torch.arange(length, dtype=torch.float64, device=x.device)[:, None] * frequencies_P
    return angles_LP.cos().to(x.dtype)[positions], angles_LP.sin().to(x.dtype)[positions]


class _Rotate(torch.autograd.Function):
    """The gradient of a rotation is the rotation back."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, cos_TP: Tensor, sin_TP: Tensor) -> Tensor:
        ctx.save_for_backward(cos_TP, sin_TP)
        return _turned(x, cos_TP, sin_TP)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None, None]:
        cos_TP, sin_TP = ctx.saved_tensors  # type: ignore[attr-defined]
        return _turned(gradient, cos_TP, -sin_TP), None, None


def _turned(x: Tensor, cos_TP: Tensor, sin_TP: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    cos_T1P, sin_T1P = cos_TP[:, None, :], sin_TP[:, None, :]
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    out_first, out_second = out.chunk(2, dim=-1)
    torch.mul(first, cos_T1P, out=out_first).addcmul_(second, sin_T1P, value=-1)
    torch.mul(second, cos_T1P, out=out_second).addcmul_(first, sin_T1P)
    return out
