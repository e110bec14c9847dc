"""Keep freed memory in the process.

glibc hands large blocks back to the kernel as soon as they are freed, and every training step faults them in
again, page by page: on our machines that costs as much as the arithmetic (docs/lab.md has the measurement).
"""

from __future__ import annotations

import ctypes
import functools
import sys

__all__ = ["keep_freed_memory"]

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


@functools.cache
def keep_freed_memory() -> bool:
    """Ask the C library to reuse large freed blocks; numbers do not change.

    Returns:
        Whether it agreed; False on a system without glibc, where nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wishes = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 64 * 2**20))
    return all(mallopt(option, value) == 1 for option, value in wishes)
