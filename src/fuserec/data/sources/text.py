"""The bytes of a text file, checked to be UTF-8."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fuserec.errors import DataError

__all__ = ["CHUNK", "NEWLINE", "RETURN", "Bytes", "read_bytes"]

CHUNK = 1 << 20
NEWLINE, RETURN = 10, 13
Bytes: TypeAlias = NDArray[np.uint8]


def read_bytes(path: Path, plain: Path, *, chunk_size: int = CHUNK) -> Bytes:
    """The file mapped into memory, without a byte order mark; possibly empty.

    Args:
        path: as people know it, for messages.
        plain: where its text is; another file if it is compressed.
        chunk_size: bytes that are checked at a time.

    Raises:
        DataError: the bytes are no UTF-8 text, or hold a NUL.
    """
    try:
        if not plain.stat().st_size:
            return np.zeros(0, dtype=np.uint8)
        data: Bytes = np.memmap(plain, dtype=np.uint8, mode="r")
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    _refuse_binary(path, data, chunk_size)
    return data[3:] if bytes(data[:3]) == codecs.BOM_UTF8 else data


def _refuse_binary(path: Path, data: Bytes, chunk_size: int) -> None:
    """Raise where the bytes are no UTF-8 text, naming the line."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines = 1
    for start in range(0, len(data), chunk_size):
        chunk = data[start : start + chunk_size]
        nul = np.flatnonzero(chunk == 0)
        if len(nul):
            line = lines + int((chunk[: nul[0]] == NEWLINE).sum())
            raise DataError(
                f"expected text, but {path}:{line} holds a NUL byte; is this a binary or UTF-16 file?"
            )
        try:
            decoder.decode(bytes(chunk), final=start + chunk_size >= len(data))
        except UnicodeDecodeError as error:
            before = error.object[: error.start].count(b"\n")
            raise DataError(
                f"expected UTF-8 text, but {path}:{lines + before} holds the byte 0x{error.object[error.start]:02x}; "
                "is this a binary or compressed file, or another encoding?"
            ) from error
        lines += int((chunk == NEWLINE).sum())
