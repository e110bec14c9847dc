"""What the public calls accept: every shape held against every other before any arithmetic.

Shape legend
    B  histories   H  heads   L  positions   D  width   T  positions of all packed histories   C  blocks of a history
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuserec.errors import ConfigError
from fuserec.ops.attention.pattern import Pattern
from fuserec.ops.attention.summaries import Summaries
from fuserec.ops.attention.visibility import num_blocks

__all__ = ["check"]

DTYPES = (torch.float32, torch.float64)


def check(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Tensor | None,
    pattern: Pattern,
    summaries: Summaries,
    lengths: Tensor | None,
    offsets: Tensor | None,
) -> int:
    """Refuse what does not fit together; give the events of the longest history, padding included.

    All have the dtype and the device of ``q``, but ``lengths`` and ``offsets``: int32 or int64, on any device.

    Raises:
        ConfigError: a shape, a dtype, a device, a length or an offset is not what the others ask for.
    """
    if offsets is None:
        _ask(
            q.dim() == 4, f"expected q of shape (B, H, L, D), got {_shape(q)}; packed histories need offsets"
        )
        B, H, L, D = q.shape
        events: tuple[int, ...] = (B, L, H)
        blocks: tuple[int, ...] = (B, H, num_blocks(L, pattern.block), D)
        longest = L
        if lengths is not None:
            _check_lengths(lengths, B, L)
    else:
        _ask(q.dim() == 3, f"expected q of shape (T, H, D) with offsets, got {_shape(q)}")
        _ask(
            lengths is None,
            "expected lengths or offsets, got both; offsets say the lengths of packed histories",
        )
        T, H, D = q.shape
        _check_offsets(offsets, T)
        all_lengths = offsets.diff().tolist()
        longest = max(all_lengths, default=0)
        begun = [num_blocks(length, pattern.block) for length in all_lengths]
        events, blocks = (T, H), (sum(begun), H, D)
    _ask(D >= 1 and H >= 1, f"expected at least one head of width 1, got {_shape(q)}")
    _ask(q.dtype in DTYPES, f"expected q of float32 or float64, got {q.dtype}")
    for name, tensor, shape in (
        ("k", k, q.shape),
        ("v", v, q.shape),
        ("gates", gates, (*events, 3)),
        ("block_query", summaries.query, q.shape),
        ("block_key", summaries.key, blocks),
        ("block_value", summaries.value, blocks),
    ):
        if tensor is not None:
            _ask(
                tuple(tensor.shape) == tuple(shape),
                f"expected {name} of shape {tuple(shape)}, got {_shape(tensor)}",
            )
            _check_kind(name, tensor, q)
    bias = summaries.bias
    if bias is not None:
        least = max(1, num_blocks(longest, pattern.block) - 1)
        _ask(
            bias.dim() == 2 and bias.shape[0] == H and bias.shape[1] >= least,
            f"expected block_bias of shape ({H}, at least {least}), got {_shape(bias)}",
        )
        _check_kind("block_bias", bias, q)
    return longest


def _check_kind(name: str, tensor: Tensor, q: Tensor) -> None:
    _ask(
        tensor.dtype == q.dtype and tensor.device == q.device,
        f"expected {name} of {q.dtype} on {q.device} as q is, got {tensor.dtype} on {tensor.device}",
    )


def _check_lengths(lengths: Tensor, B: int, L: int) -> None:
    _check_integers("lengths", lengths)
    _ask(lengths.shape == (B,), f"expected lengths of shape ({B},), got {_shape(lengths)}")
    if B:
        low, high = int(lengths.min()), int(lengths.max())
        _ask(
            low >= 0 and high <= L,
            f"expected lengths from 0 to {L}, got {low} to {high}; a length is the number of a history's events",
        )


def _check_offsets(offsets: Tensor, T: int) -> None:
    _check_integers("offsets", offsets)
    _ask(
        offsets.dim() == 1 and len(offsets) >= 1, f"expected offsets of shape (B + 1,), got {_shape(offsets)}"
    )
    first, last = int(offsets[0]), int(offsets[-1])
    _ask(
        first == 0 and last == T,
        f"expected offsets from 0 to {T}, the packed positions, got {first} to {last}",
    )
    falls = (
        (offsets[1:] < offsets[:-1]).nonzero().flatten().tolist()
    )  # not by differences, which may overflow
    _ask(
        not falls,
        "expected offsets that never fall, since histories follow one another; "
        f"offset {falls[0] + 1 if falls else 0} is below the one before it",
    )


def _check_integers(name: str, tensor: Tensor) -> None:
    _ask(isinstance(tensor, Tensor), f"expected {name} as a tensor of integers, got {type(tensor).__name__}")
    _ask(tensor.dtype in (torch.int32, torch.int64), f"expected {name} of int32 or int64, got {tensor.dtype}")


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


def _ask(fits: bool, message: str) -> None:  # noqa: FBT001 (reads as a sentence)
    if not fits:
        raise ConfigError(message)
