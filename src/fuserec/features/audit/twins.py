"""Pairs of items whose features are all but the same: doubles in the catalogue, or one placeholder for many.

Shape legend
    I  items   P  items present   N, M  items of a block
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from fuserec.shapes import Bool, Float, Int

__all__ = ["ALIKE", "Twin", "Twins", "find_twins"]

ALIKE = 0.999
"""Least cosine of a pair that counts."""

SHOWN = 12
"""Examples kept."""

BLOCK = 2048
"""Items of a block; its products take 16 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """One pair, ``first`` the lower row.

    Attributes:
        first: item row.
        second: item row.
        cosine: of their features.
        identical: the rows are the same, number for number.
    """

    first: int
    second: int
    cosine: float
    identical: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Twins:
    """All such pairs of a modality.

    Attributes:
        pairs: with a cosine of at least `ALIKE`, in float32.
        identical: pairs of them whose rows are the same, number for number.
        items: that stand in at least one pair.
        examples: a few, by row; no item stands in two of them.
    """

    pairs: int
    identical: int
    items: int
    examples: tuple[Twin, ...]


def find_twins(features: Float[Tensor, "I W"], present: Bool[Tensor, " I"], *, block: int = BLOCK) -> Twins:
    """Compare all pairs, a block of items against a block at a time.

    Args:
        features: (I, W).
        present: (I,) the items to compare.
        block: items of a block; it decides memory, not the outcome.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> found = find_twins(rows, torch.ones(4) > 0)
        >>> found.pairs, found.identical, found.items
        (3, 1, 3)
    """
    rows = torch.nonzero(present).squeeze(1)
    next_alike = torch.full((len(rows),), -1)
    before_alike = torch.zeros(len(rows), dtype=torch.bool)
    pairs = 0
    for start in range(0, len(rows), block):
        own = normalize(features[rows[start : start + block]], dim=1)
        for other in range(start, len(rows), block):
            hits = own @ normalize(features[rows[other : other + block]], dim=1).T >= ALIKE
            if other == start:
                hits.triu_(1)
            pairs += int(hits.sum())
            found = hits.any(1)
            before_alike[other : other + block] |= hits.any(0)
            ahead = next_alike[start : start + block]
            new = found & (ahead < 0)
            ahead[new] = hits[new].to(torch.uint8).argmax(1) + other
    groups = Counter(row.tobytes() for row in (features[rows].contiguous() + 0.0).numpy())
    return Twins(
        pairs=pairs,
        identical=sum(size * (size - 1) // 2 for size in groups.values()),
        items=int(((next_alike >= 0) | before_alike).sum()),
        examples=_examples(features, rows, next_alike.masked_fill(before_alike, -1)),
    )


def _examples(
    features: Float[Tensor, "I W"], rows: Int[Tensor, " P"], next_alike: Int[Tensor, " P"]
) -> tuple[Twin, ...]:
    """The first pairs by row, each item at most once.

    Only of items without an earlier one like them: many with one placeholder are one example and do not hide the others.
    """
    shown: list[Twin] = []
    used: set[int] = set()
    for place in torch.nonzero(next_alike >= 0).squeeze(1).tolist():
        first, second = int(rows[place]), int(rows[next_alike[place]])
        if first in used or second in used:
            continue
        used |= {first, second}
        one, other = features[first].double(), features[second].double()
        shown.append(
            Twin(
                first=first,
                second=second,
                cosine=min(1.0, float(cosine_similarity(one, other, dim=0))),
                identical=torch.equal(one, other),
            )
        )
        if len(shown) == SHOWN:
            break
    return tuple(shown)
