"""The compiled library's one function, called with tensors.

Shape legend
    B  histories   H  heads   L  positions   D  width   T  positions of all packed histories   M  columns of a bias
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from fuserec import compiled
from fuserec.errors import ConfigError
from fuserec.ops.attention.native.library import LIBRARY
from fuserec.ops.attention.pattern import Pattern

__all__ = ["best_instruction_set", "built", "call"]


class _View(ctypes.Structure):
    """``View`` of driver.cpp."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("history", ctypes.c_int64),
        ("head", ctypes.c_int64),
        ("row", ctypes.c_int64),
    )


_NUMBERS = (
    "histories",
    "heads",
    "rows",
    "dim",
    "window",
    "block",
    "selected",
    "group",
    "bias_columns",
    "branches",
    "threads",
)
_ARRAYS = ("lengths", "offsets", "bias", "choice", "d_bias")
_EVENTS_FIRST = ("gates", "d_gates")
_VIEWS = (
    "q",
    "k",
    "v",
    "gates",
    "block_query",
    "block_key",
    "block_value",
    "out",
    "softmax",
    "d_out",
    "d_q",
    "d_k",
    "d_v",
    "d_gates",
    "d_block_query",
    "d_block_key",
    "d_block_value",
)


class _Call(ctypes.Structure):
    """``Call`` of driver.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in _NUMBERS),
        *((name, ctypes.c_void_p) for name in _ARRAYS),
        *((name, _View) for name in _VIEWS),
    )


@cache
def _library() -> ctypes.CDLL:
    path = compiled.built(LIBRARY)
    if path is None:
        raise ConfigError(
            "the native form of attention is not compiled here; run `fuserec build-native`, or use implementation='blocked'"
        )
    try:
        library = ctypes.CDLL(str(path))
        library.fuserec_attention.argtypes = [ctypes.POINTER(_Call), ctypes.c_char_p, ctypes.c_int]
        library.fuserec_attention.restype = ctypes.c_int
        library.fuserec_attention_best.restype = ctypes.c_char_p
    except (OSError, AttributeError) as error:
        raise ConfigError(
            f"the native form of attention does not load: {error}; run `fuserec build-native --clean` and "
            "`fuserec build-native`, or use implementation='blocked'"
        ) from error
    return library


def built() -> bool:
    """The library is compiled on this machine, for its processor."""
    # asking anew takes a millisecond, so only before it is loaded
    return _library.cache_info().currsize > 0 or compiled.built(LIBRARY) is not None


def best_instruction_set() -> str:
    """What calls use here unless told otherwise: "avx512", "avx2" or "plain"."""
    return str(_library().fuserec_attention_best().decode())


def call(
    tensors: Mapping[str, Tensor | None],
    *,
    pattern: Pattern,
    branches: int,
    lengths: Tensor,
    offsets: Tensor | None,
    instruction_set: str,
    backward: bool,
) -> None:
    """Fill the tensors that the library writes: out, softmax and choice, or in ``backward`` all that begin with d_.

    Args:
        tensors: by the names of ``Call``; float32 but for the int32 ``choice``; last dimension contiguous.
        pattern: with no more blocks and events than there are.
        branches: which are computed: bits 1, 2 and 4, in the order of `pattern.BRANCHES`.
        lengths: (B,) int64.
        offsets: (B + 1,) int64 of packed histories; None for padded ones.
        instruction_set: "" for the best.
        backward: compute gradients.

    Raises:
        ConfigError: the library is not compiled, or the instruction set is unknown.
        MemoryError: there is not enough memory.
    """
    library = _library()
    packed, q, bias = offsets is not None, tensors["q"], tensors["bias"]
    assert q is not None
    it = _Call(
        histories=len(lengths),
        heads=q.shape[1],
        rows=q.shape[-2] if not packed else 0,
        dim=q.shape[-1],
        window=pattern.window,
        block=pattern.block,
        selected=pattern.selected,
        group=pattern.group,
        bias_columns=0 if bias is None else bias.shape[1],
        branches=branches,
        threads=torch.get_num_threads(),
        lengths=lengths.data_ptr(),
        offsets=None if offsets is None else offsets.data_ptr(),
    )
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if name in _ARRAYS:
            setattr(it, name, tensor.data_ptr())
        else:
            setattr(it, name, _view(tensor, packed=packed, events_first=packed or name in _EVENTS_FIRST))
    failed = library.fuserec_attention(
        ctypes.byref(it), (instruction_set or best_instruction_set()).encode(), int(backward)
    )
    if failed == 1:
        raise MemoryError("not enough memory for attention; use fewer or shorter histories at a time")
    if failed:
        raise ConfigError(f"expected an instruction set of this processor, got {instruction_set!r}")


def _view(tensor: Tensor, *, packed: bool, events_first: bool) -> _View:
    """(B, H, L, D), (B, L, H, D) or packed (T, H, D) as the library reads it."""
    history = 0 if packed else tensor.stride(0)
    head, row = (-2, -3) if events_first else (-3, -2)
    return _View(data=tensor.data_ptr(), history=history, head=tensor.stride(head), row=tensor.stride(row))
