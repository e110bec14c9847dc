"""Everything a caller may catch.

    FuserecError
    +-- ConfigError (also ValueError)       a recipe or an option is wrong
    +-- DataError (also ValueError)         a file or a value in it is wrong
    +-- CheckpointError                     a run folder is missing, broken or does not fit
    +-- ProtocolError (also ValueError)     two numbers were measured differently
    +-- TrainingError                       training cannot go on
    +-- MissingExtraError (also ImportError)  an optional dependency is not installed
    +-- CompileError                        native code cannot be compiled

A message says what was expected, what came, and what to do. The command line prints it as one line
and exits with 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "CheckpointError",
    "CompileError",
    "ConfigError",
    "DataError",
    "FuserecError",
    "MissingExtraError",
    "ProtocolError",
    "TrainingError",
    "nearest",
]


class FuserecError(Exception):
    """Any failure that fuserec foresees."""


class ConfigError(FuserecError, ValueError):
    """A recipe or an option has a value that cannot be used."""


class DataError(FuserecError, ValueError):
    """A file, or a value in it, is not what was expected."""


class CheckpointError(FuserecError):
    """A run folder is missing, broken, or does not fit the dataset."""


class ProtocolError(FuserecError, ValueError):
    """Numbers measured under different protocols were about to be compared."""


class TrainingError(FuserecError):
    """Training cannot go on, for example after a loss that is not finite."""


class MissingExtraError(FuserecError, ImportError):
    """A feature needs an optional dependency that is not installed."""


class CompileError(FuserecError):
    """Native code cannot be compiled on this machine, as it is now."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a mistyped name: the closest known one, or all of them, or that there are none.

    Example:
        >>> nearest("epoch", ["epochs", "dim"])
        "did you mean 'epochs'?"
        >>> nearest("zzz", ["epochs", "dim"])
        "known: 'dim', 'epochs'"
        >>> nearest("zzz", [])
        'there are none'
    """
    names = sorted(known)
    if not names:
        return "there are none"
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + ", ".join(map(repr, names))
