"""Options that came after results had been committed."""

from __future__ import annotations

import dataclasses
import types
from typing import Any

__all__ = ["ADDED", "added_and_left_alone"]

ADDED = types.MappingProxyType({"added": True})
"""Metadata of a config's field that came later: where it is left alone, a recipe keeps its hash."""


def added_and_left_alone(config: Any) -> list[str]:
    """Names of the fields of a dataclass that came later and have their default.

    Example:
        >>> @dataclasses.dataclass
        ... class Config:
        ...     old: int = 1
        ...     new: int = dataclasses.field(default=2, metadata=ADDED)
        ...     newer: int = dataclasses.field(default=3, metadata=ADDED)
        >>> added_and_left_alone(Config(newer=4))
        ['new']
    """
    return [
        one.name
        for one in dataclasses.fields(config)
        if "added" in one.metadata and getattr(config, one.name) == one.default
    ]
