"""Findings in words: how many, what, and where the first few stand."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from fuserec.data.schema import Finding
from fuserec.data.sources.table import Table

__all__ = ["count", "places", "rejection"]

_SHOWN = 5


def count(number: int, noun: str) -> str:
    """A number and its noun.

    Example:
        >>> count(1, "event"), count(2500, "event")
        ('1 event', '2,500 events')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def places(table: Table, rows: Iterable[int]) -> tuple[str, ...]:
    """File and line of the first few rows."""
    return tuple(table.where(row) for row in islice(rows, _SHOWN))


def rejection(table: Table, reason: str, number: int, rows: Iterable[int]) -> Finding:
    """Events left out for one reason; ``rows`` are the first few of them."""
    return Finding(
        kind=reason,
        count=number,
        message=f"{count(number, 'event')} left out: {reason}",
        where=places(table, rows),
        rejected=True,
        refused_by_strict=True,
    )
