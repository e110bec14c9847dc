"""Rotary positions: a product of two rotated vectors depends on their distance alone.

"RoFormer: Enhanced Transformer with Rotary Position Embedding", J. Su et al. arXiv 2104.09864.

Shape legend
    T  packed rows   H  heads   D  width of a head   P  pairs, D / 2   B  histories
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from fuserec.shapes import Complex, Float, Int

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
    """Row t turned by its position: pair p = (x_2p, x_{2p + 1}) by the angle position * base^(-2p / D).

    Source: RoFormer Eq. (34). A pair is a complex number, so turning it is one product.

    Args:
        x: (T, H, D), D even.
        positions: (T,) from 0.
        base: of the angles.

    Example:
        >>> x = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]])
        >>> [round(value, 4) for value in rotate(x, torch.tensor([0, 1])).flatten().tolist()]
        [1.0, 0.0, 0.5403, 0.8415]
    """
    rotated: Tensor = _Rotate.apply(x, _turns(x, positions, base)[:, None])  # type: ignore[no-untyped-call]
    return rotated


def rotate_reference(
    x: Float[Tensor, "T H D"], positions: Int[Tensor, " T"], *, base: float = BASE
) -> Float[Tensor, "T H D"]:
    """`rotate`, pair by pair."""
    turns_TP = _turns(x, positions, base)
    cos_T1P, sin_T1P = turns_TP.real[:, None], turns_TP.imag[:, None]
    first, second = x[:, :, 0::2], x[:, :, 1::2]
    turned = (first * cos_T1P - second * sin_T1P, first * sin_T1P + second * cos_T1P)
    return torch.stack(turned, dim=-1).flatten(-2)


def _turns(x: Float[Tensor, "T H D"], positions: Int[Tensor, " T"], base: float) -> Complex[Tensor, "T P"]:
    """Cosine + i sine of each row's angles, computed in double."""
    pairs = x.shape[-1] // 2
    length = int(positions.max()) + 1 if len(positions) else 0
    if length > len(positions):  # a far row alone: a table of all before it would cost more
        return _computed(positions, pairs, base, x.dtype)
    # a power of two, so that a few tables serve all batches
    return _table(1 << length.bit_length(), pairs, base, x.dtype, x.device)[positions]


@functools.lru_cache(maxsize=8)
def _table(
    length: int, pairs: int, base: float, dtype: torch.dtype, device: torch.device
) -> Complex[Tensor, "T P"]:
    """Of the positions 0 .. length - 1; every layer and step of a training asks for the same."""
    with torch.inference_mode(mode=False):  # what is kept may be read in training later
        return _computed(torch.arange(length, device=device), pairs, base, dtype)


def _computed(
    positions: Int[Tensor, " T"], pairs: int, base: float, dtype: torch.dtype
) -> Complex[Tensor, "T P"]:
    frequencies_P = base ** (-torch.arange(pairs, dtype=torch.float64, device=positions.device) / pairs)
    angles = positions.double()[:, None] * frequencies_P
    return torch.complex(angles.cos().to(dtype), angles.sin().to(dtype))


class _Rotate(torch.autograd.Function):
    """The gradient of a rotation is the rotation back."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, turns: Tensor) -> Tensor:
        ctx.save_for_backward(turns)
        return _turned(x, turns)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        (turns,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return _turned(gradient, turns.conj()), None


def _turned(x: Tensor, turns: Tensor) -> Tensor:
    # a gradient may come expanded or transposed, which cannot be read as pairs
    pairs = x if x.stride(-1) == 1 and all(step % 2 == 0 for step in x.stride()[:-1]) else x.contiguous()
    return torch.view_as_real(torch.view_as_complex(pairs.unflatten(-1, (-1, 2))) * turns).flatten(-2)
