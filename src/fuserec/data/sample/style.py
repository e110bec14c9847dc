"""What items that look alike have in common."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Style"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """The composition of a picture; every part is 0 .. 1.

    Attributes:
        place: where the hero stands, from left to right.
        size: how large it is; some scenes change their hero at a half.
        amount: how much there is of everything else.
        turn: the hue of things; a half leaves it as it is.
    """

    place: float
    size: float
    amount: float
    turn: float
