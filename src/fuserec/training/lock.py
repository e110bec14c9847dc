"""One process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fuserec.errors import ConfigError

__all__ = ["exclusive"]


@contextmanager
def exclusive(path: Path, *, task: str) -> Iterator[None]:
    """Hold a lock file that names this process; it is gone when the block ends.

    The system lets go of the lock when its process dies, however it dies, so a file that was left behind locks nothing.

    Args:
        path: of the lock file; its folder exists.
        task: what only one may do, for the message: ``"train into runs/a"``.

    Raises:
        ConfigError: another process holds it.
        OSError: the file cannot be made.
    """
    handle = _locked(path, task)
    try:
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        # While it is still held: whoever waits for this file sees that it is gone, and makes a new one.
        path.unlink(missing_ok=True)
        os.close(handle)


def _locked(path: Path, task: str) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(handle, 20).decode(errors="replace") or "unknown"
            os.close(handle)
            raise ConfigError(
                f"expected to be the only one to {task}, but process {holder} does; wait until it has ended, or stop it"
            ) from error
        if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
            return handle
        os.close(handle)
