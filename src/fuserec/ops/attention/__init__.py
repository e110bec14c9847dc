"""Attention over long histories at three granularities: windowed, block-level and selective.

`multi_granularity` is all three, summed by gate; each branch has a call of its own. `History` appends events one
by one. The names are loaded when they are first used (PEP 562): what only compiles the native form needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fuserec.ops.attention.dispatch import (
        blockwise,
        implementation_for,
        multi_granularity,
        selective,
        windowed,
    )
    from fuserec.ops.attention.step import History

__all__ = ["History", "blockwise", "implementation_for", "multi_granularity", "selective", "windowed"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "step" if name == "History" else "dispatch"
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
