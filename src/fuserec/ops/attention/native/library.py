"""What the native form is compiled from."""

from __future__ import annotations

import platform
from pathlib import Path

from fuserec.compiled import Library, Unit

__all__ = ["LIBRARY"]

_HERE = Path(__file__).parent
_TILES = _HERE / "tiles.cpp"

# One unit for each instruction set; which of them runs is decided when the processor is known.
_X86 = (
    Unit(_TILES, ("-DNAME=avx2", "-DLANES=8", "-mavx2", "-mfma")),
    Unit(
        _TILES,
        ("-DNAME=avx512", "-DLANES=16", "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma"),
    ),
)

LIBRARY = Library(
    name="sparse_attention",
    units=(
        Unit(_HERE / "driver.cpp"),
        Unit(_TILES, ("-DNAME=plain", "-DLANES=4")),
        *(_X86 if platform.machine() in {"x86_64", "AMD64"} else ()),
    ),
    headers=tuple(
        _HERE / f"{name}.h" for name in ("lists", "products", "sight", "storage", "tiles", "vectors")
    ),
)
