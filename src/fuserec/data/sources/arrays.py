"""Arrays from .npy and .npz files, never unpickled."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fuserec.errors import DataError

__all__ = ["read_npy", "read_npz"]

_BROKEN = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,
    TypeError,
    KeyError,
    MemoryError,
    OverflowError,
    NotImplementedError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy raises on files that are cut short, are something else, or hold pickled objects."""


def read_npy(path: Path) -> NDArray[Any]:
    """The array in a .npy file, memory-mapped.

    Raises:
        DataError: the file is no array, is cut short, or holds pickled objects.
    """
    try:
        with path.open("rb") as file:
            archive = file.read(2) == b"PK"
        array = None if archive else np.load(path, mmap_mode="r", allow_pickle=False)
    except _BROKEN as error:
        raise DataError(
            f"expected an array in {path}, but it cannot be read: {_first_line(error)}"
        ) from error
    if array is None:
        raise DataError(f"expected one array in {path}, got an archive of several; name it .npz")
    return np.asanyarray(array)


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays in a .npz file by name.

    Raises:
        DataError: the file is no such archive, is cut short, or holds pickled objects.
    """
    try:
        # Opened here, since numpy leaves the file open where the archive is broken.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            arrays = None if isinstance(archive, np.ndarray) else {name: archive[name] for name in archive}
    except _BROKEN as error:
        raise DataError(
            f"expected named arrays in {path}, but it cannot be read: {_first_line(error)}"
        ) from error
    if arrays is None:
        raise DataError(f"expected named arrays in {path}, got a single one; name it .npy")
    return arrays


def _first_line(error: BaseException) -> str:
    text = str(error).splitlines()
    return text[0] if text else type(error).__name__
