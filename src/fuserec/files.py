"""Files that are either whole or absent, and hashes that name them.

A folder or file is written beside its place and renamed; whatever goes wrong on the way, a full disk or
Ctrl-C, the place itself holds what it held before.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fuserec.errors import DataError

__all__ = [
    "hash_json",
    "new_folder",
    "read_array",
    "read_arrays",
    "read_json",
    "sha256_file",
    "write_bytes",
    "write_json",
    "write_text",
]

_BROKEN_ARRAYS = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    MemoryError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy raises on files that are cut short, damaged, something else, or hold pickled objects."""


@contextmanager
def new_folder(place: Path, *, overwrite: bool = False, mark: str | None = None) -> Iterator[Path]:
    """A temporary folder beside ``place`` that becomes ``place`` when the block ends well.

    One that a killed process left beside the same place is removed first.

    Args:
        place: where the folder shall stand.
        overwrite: replace a folder that stands there; it is removed only after the new one is whole.
        mark: name of the file by which a folder that may be replaced is known; None takes any folder.

    Raises:
        DataError: ``place`` exists and ``overwrite`` is false or it is neither empty nor marked, or the parent
            cannot be written, or the disk is full.
    """
    place = Path(place)
    try:
        if place.exists() and not overwrite:
            raise DataError(f"expected a new folder, but {place} exists; choose another or pass --overwrite")
        if place.exists() and not place.is_dir():
            raise DataError(f"expected a folder to overwrite, but {place} is a file; choose another place")
        if mark and place.exists() and any(place.iterdir()) and not (place / mark).is_file():
            raise DataError(
                f"expected {mark} in the folder to overwrite, but {place} has none; choose another place"
            )
        place.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(place)
        stage, lock = _held_folder(place)
    except OSError as error:
        raise DataError(f"cannot write in {place.parent}: {error.strerror or error}") from error
    try:
        yield stage
        stage.chmod(0o755)
        if overwrite and place.exists():
            _swap(stage, place)
        else:
            # Fails where another process has made the place in the meantime: that folder is not ours.
            os.replace(stage, place)
    except OSError as error:
        raise DataError(f"could not write {place}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _held_folder(place: Path) -> tuple[Path, int | None]:
    """A temporary folder beside ``place`` and the handle by which this process holds it; None without locks."""
    while True:
        stage = Path(tempfile.mkdtemp(prefix=f".{place.name}.partial-", dir=place.parent))
        try:
            lock = _hold(stage)
        except OSError:  # a disk without locks, where `_remove_stale` removes nothing either
            return stage, None
        if lock is not None:
            return stage, lock
        # Another process took it for a stale one in the moment before it was held.


def _remove_stale(place: Path) -> None:
    """Remove the temporary folders of ``place`` whose processes were killed; none that a process holds."""
    ours = re.compile(re.escape(f".{place.name}.partial-") + "[a-z0-9_]{8}")
    for folder in place.parent.iterdir():
        if not ours.fullmatch(folder.name):
            continue
        try:
            lock = _hold(folder)
        except OSError:  # no folder, of another user, or on a disk without locks
            continue
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _hold(folder: Path) -> int | None:
    """A handle that holds the folder until it is closed or its process dies; None where another process does.

    Raises:
        OSError: the folder cannot be opened or locked.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    held = False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # It may have been renamed or removed before the lock was ours.
        held = folder.exists() and os.path.samestat(os.fstat(handle), folder.stat())
    except BlockingIOError:
        pass
    finally:
        if not held:
            os.close(handle)
    return handle if held else None


def _swap(stage: Path, place: Path) -> None:
    """Put ``stage`` in the place of a folder that stands there; that folder comes back if it fails."""
    old = Path(tempfile.mkdtemp(prefix=f".{place.name}.old-", dir=place.parent))
    os.replace(place, old / place.name)
    try:
        os.replace(stage, place)
    except BaseException:
        os.replace(old / place.name, place)
        old.rmdir()
        raise
    shutil.rmtree(old)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 beside its place, flush it to the disk, and rename it."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file beside its place, flush it to the disk, and rename it."""
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise DataError(f"expected the file {path}, but it does not exist") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"expected JSON in {path}, got: {error}") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name}, which is no number in JSON")


def read_array(path: Path) -> NDArray[Any]:
    """The array of an .npy file, memory-mapped, never unpickled.

    Raises:
        DataError: the file is missing, cut short, damaged, or no .npy.
    """
    try:
        with Path(path).open("rb") as file:
            archive = file.read(2) == b"PK"
        array = None if archive else np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"expected the file {path}, but it does not exist") from error
    except _BROKEN_ARRAYS as error:
        raise DataError(f"expected an array in {path}, got: {_first_line(error)}") from error
    if array is None:
        raise DataError(f"expected one array in {path}, got an archive of several; name it .npz")
    return np.asanyarray(array)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file by name, never unpickled.

    Raises:
        DataError: the file is missing, cut short, damaged, or no .npz.
    """
    try:
        # Opened here, since numpy leaves the file open where the archive is broken.
        with Path(path).open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            arrays = None if isinstance(archive, np.ndarray) else {name: archive[name] for name in archive}
    except FileNotFoundError as error:
        raise DataError(f"expected the file {path}, but it does not exist") from error
    except _BROKEN_ARRAYS as error:
        raise DataError(f"expected named arrays in {path}, got: {_first_line(error)}") from error
    if arrays is None:
        raise DataError(f"expected named arrays in {path}, got a single one; name it .npy")
    return arrays


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_json(value: Any) -> str:
    """Hexadecimal SHA-256 of a value's canonical JSON (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
