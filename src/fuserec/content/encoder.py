"""What every encoder promises: inputs in, rows of numbers out, and a word on each input that was not plain.

Shape legend
    B  inputs of a batch   W  width of a row
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fuserec.shapes import Float

__all__ = ["Encoded", "Encoder", "Problem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something a person should know about one input.

    Attributes:
        position: of the input in what was given.
        kind: a short name, for example ``"broken"``, ``"animated"``, ``"cut"``.
        message: the whole sentence, without the item and the file, which whoever asked knows.
        lost: the input gave no row; False where it did all the same.
    """

    position: int
    kind: str
    message: str
    lost: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """What became of a batch.

    Attributes:
        rows: (B, W) float32, zero where the input was lost.
        problems: in the order of their positions; an input may have several.
    """

    rows: Float[NDArray[np.float32], "B W"]
    problems: tuple[Problem, ...] = ()


@runtime_checkable
class Encoder(Protocol):
    """Turns inputs (texts, or paths of pictures) into rows.

    The numbers are decided by ``options`` alone, besides the batch that an input stands in, which moves the last
    bits. Making one is cheap and loads no weights, so that it can be asked whether anything is to be done at all.
    """

    @property
    def name(self) -> str:
        """For people, such as ``all-MiniLM-L6-v2``."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """All that decides the numbers, as JSON: kind, model, hash of its files, pooling, longest input, ..."""
        ...

    @property
    def width(self) -> int:
        """W."""
        ...

    def batches(self, inputs: Sequence[Any]) -> list[NDArray[np.int64]]:
        """Positions of the inputs in batches, each position once; a function of the inputs alone."""
        ...

    def encode(self, inputs: Sequence[Any]) -> Encoded:
        """Encode one batch.

        A bad input is told in `Encoded.problems` and never raises.
        """
        ...
