"""What long work tells of itself while it runs."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

__all__ = ["Progress", "Silent"]


@runtime_checkable
class Progress(Protocol):
    """Someone who watches: the terminal, a log, nobody."""

    def start(self, total: int, description: str) -> None:
        """A piece of work of ``total`` steps begins; it replaces the one before."""
        ...

    def step(self, advance: int = 1, **figures: float) -> None:
        """``advance`` more steps are done; ``figures`` are current values such as losses."""
        ...

    def note(self, text: str) -> None:
        """One line worth keeping on the screen."""
        ...

    def done(self) -> None:
        """The piece of work has ended."""
        ...


class Silent:
    """Watches nothing."""

    def start(self, total: int, description: str) -> None:
        """Ignore."""

    def step(self, advance: int = 1, **figures: float) -> None:
        """Ignore."""

    def note(self, text: str) -> None:
        """Ignore."""

    def done(self) -> None:
        """Ignore."""
