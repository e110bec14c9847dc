"""One seed, named generators: adding a draw to one of them shifts no other."""

from __future__ import annotations

import hashlib

import torch

__all__ = ["named_generator"]


def named_generator(seed: int, name: str) -> torch.Generator:
    """The generator of one purpose, such as ``"init"``, ``"shuffle"`` or ``"negatives"``.

    Example:
        >>> one, two = named_generator(0, "init"), named_generator(0, "shuffle")
        >>> one.initial_seed() == named_generator(0, "init").initial_seed() != two.initial_seed()
        True
    """
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") % 2**63)
