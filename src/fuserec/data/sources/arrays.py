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

# What numpy raises on files that are cut short, are something else, or hold pickled objects.
_BROKEN = (OSError, ValueError, EOFError, SyntaxError, TypeError, KeyError, MemoryError, OverflowError)
_BROKEN_ZIP = (*_BROKEN, zipfile.BadZipFile, zlib.error, NotImplementedError, tokenize.TokenError)


def read_npy(path: Path) -> NDArray[Any]:
    """The array in a .npy file, memory-mapped.

    Raises:
        DataError: the file is no array, is cut short, or holds pickled objects.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (*_BROKEN, tokenize.TokenError) as error:
        raise DataError(
            f"expected an array in {path}, but it cannot be read: {_first_line(error)}"
        ) from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"expected one array in {path}, got an archive of several; name it .npz")
    return array


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays in a .npz file by name.

    Raises:
        DataError: the file is no such archive, is cut short, or holds pickled objects.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except _BROKEN_ZIP as error:
        raise DataError(
            f"expected named arrays in {path}, but it cannot be read: {_first_line(error)}"
        ) from error
    except AttributeError as error:
        raise DataError(f"expected named arrays in {path}, got a single one; name it .npy") from error


def _first_line(error: BaseException) -> str:
    text = str(error).splitlines()
    return text[0] if text else type(error).__name__
