"""Peak of resident memory, as the kernel counts it: native code allocates where torch's profiler does not look. Linux."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

__all__ = ["available", "peak_above"]

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
KIB, MIB = 1 << 10, 1 << 20


def available() -> bool:
    """The kernel counts, and lets the count be set back."""
    return _RESET.exists()


def peak_above(run: Callable[[], object]) -> float:
    """MiB that the process held at most while ``run`` ran, above what it held before.

    Freed memory must go back to the system here: what the allocator kept would be used again, and not counted.
    """
    ctypes.CDLL(None).malloc_trim(0)
    _RESET.write_text("5", encoding="ascii")
    before = _bytes("VmRSS")
    run()
    return (_bytes("VmHWM") - before) / MIB


def _bytes(name: str) -> int:
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * KIB
    raise AssertionError(f"the kernel does not tell {name}")
