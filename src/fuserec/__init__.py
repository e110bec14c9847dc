"""fuserec: multimodal recommendations from raw files.

The names below are loaded when they are first used (PEP 562), so ``import fuserec`` imports neither
torch nor polars.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fuserec.data.dataset import Dataset
    from fuserec.errors import FuserecError
    from fuserec.index.build import fit, load
    from fuserec.index.recommend import Recommender

    __version__: str

__all__ = ["Dataset", "FuserecError", "Recommender", "__version__", "fit", "load"]

_HOMES = {
    "Dataset": "fuserec.data.dataset",
    "FuserecError": "fuserec.errors",
    "Recommender": "fuserec.index.recommend",
    "fit": "fuserec.index.build",
    "load": "fuserec.index.build",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # Reading the metadata of an installed package takes milliseconds, so only who asks pays.
        value: Any = importlib.import_module("importlib.metadata").version("fuserec")
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'fuserec' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
