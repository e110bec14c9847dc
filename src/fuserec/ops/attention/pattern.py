"""How far each branch of sparse attention sees, and the names of the branches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from fuserec.errors import ConfigError
from fuserec.ops.attention.visibility import num_blocks

__all__ = ["BRANCHES", "Branch", "Pattern", "check_whole"]

Branch = Literal["windowed", "blockwise", "selective", "multi_granularity"]
"""What to compute: one branch, or the three summed by gate."""

BRANCHES: dict[Branch, tuple[bool, bool, bool]] = {
    "windowed": (True, False, False),
    "blockwise": (False, True, False),
    "selective": (False, False, True),
    "multi_granularity": (True, True, True),
}
"""Which of windowed, block-level and selective it has; everywhere in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """How far each branch sees. Part of a model: with another pattern it is another function.

    Attributes:
        window: events that the windowed branch sees, the query's own included; at least 1.
        block: events in a block; at least 1.
        selected: earlier blocks that a group of queries chooses; 0 leaves the own block alone.
        group: neighbouring queries that share a choice; divides ``block``.

    Raises:
        ConfigError: one of them is out of its range.
    """

    window: int
    block: int
    selected: int
    group: int

    def within(self, length: int) -> Pattern:
        """The same function of histories of at most that length, with no number larger than these ask for."""
        length = max(length, 1)
        if self.block > length:  # one block, and nothing to choose
            return Pattern(window=min(self.window, length), block=length, selected=0, group=length)
        return replace(
            self, window=min(self.window, length), selected=min(self.selected, num_blocks(length, self.block))
        )

    def __post_init__(self) -> None:
        for name, least in (("window", 1), ("block", 1), ("selected", 0), ("group", 1)):
            check_whole(name, getattr(self, name), least=least)
        if self.block % self.group:
            raise ConfigError(
                f"group must divide block, got group = {self.group} and block = {self.block}; "
                "with a group in two blocks its queries would see different blocks"
            )


def check_whole(name: str, value: object, *, least: int) -> None:
    """Refuse what is not a whole number of at least ``least``; True is none.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}, got {value!r}")
