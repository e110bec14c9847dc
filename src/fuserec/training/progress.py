"""What long work tells of itself while it runs."""

from __future__ import annotations

import sys
import time
from typing import Protocol, runtime_checkable

__all__ = ["Lines", "Progress", "Silent", "duration", "figures_line"]


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


class Lines:
    """Plain lines on standard error; of steps at most one every ten seconds, so that a log file stays short."""

    every = 10.0

    def __init__(self) -> None:
        self._total = self._count = 0
        self._description = ""
        self._begun = self._told = 0.0

    def start(self, total: int, description: str) -> None:
        """Count from here."""
        self._total, self._count, self._description = total, 0, description
        self._begun = self._told = time.monotonic()

    def step(self, advance: int = 1, **figures: float) -> None:
        """Tell how far the work is, if the last line is old enough."""
        self._count += advance
        now = time.monotonic()
        if now - self._told >= self.every:
            self._told = now
            speed = self._count / (now - self._begun)
            left = (self._total - self._count) / speed
            done = f"{self._description} {self._count}/{self._total} {speed:.3g}/s"
            self.note(f"{done} {figures_line(figures)}".rstrip() + f"  {left:.0f} s left")

    def note(self, text: str) -> None:
        """Tell it."""
        print(text, file=sys.stderr, flush=True)  # noqa: T201

    def done(self) -> None:
        """Nothing is open."""


def figures_line(figures: dict[str, float]) -> str:
    """Figures by name, for people.

    Example:
        >>> figures_line({"total": 0.5, "bpr": 0.123456})
        'total 0.5  bpr 0.1235'
    """
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())


def duration(seconds: float) -> str:
    """A time for people, in the unit that suits it.

    Example:
        >>> [duration(seconds) for seconds in (4.2, 89.0, 600.0, 12e3)]
        ['4 s', '89 s', '10 min', '3.3 h']
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
