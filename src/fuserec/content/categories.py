"""Categories become rows: a column for each category, the rarer one weighing more.

Two spellings that differ in case or in blanks are one category. ``A > B > C`` (blanks around the ``>``) is three: ``A``,
``A > B`` and itself, so that two items of one aisle are alike even on different shelves; what is high up stands on many
items and weighs little.

Shape legend
    I  items   W  columns: categories of the vocabulary
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fuserec.content.encoder import Problem
from fuserec.shapes import Bool, Float

__all__ = [
    "MOST_CATEGORIES",
    "CategoryFeatures",
    "CategoryVocabulary",
    "category_features",
    "encode_categories",
]

MOST_CATEGORIES = 1024
"""Columns at most, the commonest categories."""

_STEP = re.compile(r"\s+>\s+")
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryVocabulary:
    """The fit: which category has which column, and what it weighs. Plain values, so it can be kept as JSON.

    Attributes:
        names: (W,) as `category_features` compares them, the commonest first, of equally common ones by name.
        counts: (W,) items of each.
        items: items with at least one category, those too rare for a column included.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    items: int

    @property
    def weights(self) -> Float[NDArray[np.float32], " W"]:
        """(W,) inverse document frequency, 1 + ln(items / count): 1 for what all items have."""
        return (1 + np.log(self.items / np.array(self.counts, dtype=np.float64))).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryFeatures:
    """Rows, and what a person should know of them.

    Attributes:
        rows: (I, W) of length 1, or zero where there is none.
        present: (I,) items with at least one category of the vocabulary.
        vocabulary: the fit, for new items.
        problems: categories without a column, item by item; an item without any category has none to tell of.
        told: sentences on the whole.
    """

    rows: Float[NDArray[np.float32], "I W"]
    present: Bool[NDArray[np.bool_], " I"]
    vocabulary: CategoryVocabulary
    problems: tuple[Problem, ...] = ()
    told: tuple[str, ...] = ()


def category_features(lists: Sequence[Sequence[str]], *, most: int = MOST_CATEGORIES) -> CategoryFeatures:
    """Fit a vocabulary to the categories of all items, and encode them.

    Args:
        lists: I lists of names; repeated and empty names do not count.
        most: columns at most; rarer categories have none.

    Example:
        >>> found = category_features([["Sea", "Night"], ["sea "], []])
        >>> found.vocabulary.names, found.present.tolist()
        (('sea', 'night'), [True, True, False])
        >>> [[round(float(value), 2) for value in row] for row in found.rows]
        [[0.51, 0.86], [1.0, 0.0], [0.0, 0.0]]
    """
    counts = Counter(name for names in lists for name in _with_ancestors(names))
    ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    kept = ranked[:most]
    vocabulary = CategoryVocabulary(
        names=tuple(name for name, _ in kept),
        counts=tuple(count for _, count in kept),
        items=sum(1 for names in lists if _with_ancestors(names)),
    )
    told: tuple[str, ...] = ()
    if len(ranked) > most:
        told = (
            f"{len(ranked) - most:,} of {len(ranked):,} categories have no column, since the {most:,} commonest have one; "
            f"the commonest without is {ranked[most][0]!r} with {ranked[most][1]:,} items",
        )
    return _encoded(lists, vocabulary, told)


def encode_categories(lists: Sequence[Sequence[str]], vocabulary: CategoryVocabulary) -> CategoryFeatures:
    """Encode items by a vocabulary that was fitted to others; what it does not know is told.

    Args:
        lists: I lists of names.
        vocabulary: of `category_features`.
    """
    return _encoded(lists, vocabulary, ())


def _encoded(
    lists: Sequence[Sequence[str]], vocabulary: CategoryVocabulary, told: tuple[str, ...]
) -> CategoryFeatures:
    column = {name: number for number, name in enumerate(vocabulary.names)}
    rows = np.zeros((len(lists), len(column)), dtype=np.float32)
    problems = []
    for item, names in enumerate(lists):
        found = _with_ancestors(names)
        rows[item, [column[name] for name in found if name in column]] = 1
        without = [name for name in found if name not in column]
        if without:
            problems.append(_without_column(item, without, lost=len(without) == len(found)))
    rows *= vocabulary.weights
    lengths = np.linalg.norm(rows, axis=1)
    present = lengths > 0
    rows[present] /= lengths[present, None]
    return CategoryFeatures(
        rows=rows, present=present, vocabulary=vocabulary, problems=tuple(problems), told=told
    )


def _without_column(item: int, names: list[str], *, lost: bool) -> Problem:
    some = ", ".join(map(repr, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")
    message = f"no column for {some}" + (", and it has no other category" if lost else "")
    return Problem(position=item, kind="category without a column", message=message, lost=lost)


def _with_ancestors(names: Sequence[str]) -> list[str]:
    """Every category once, with those above it, as they are compared."""
    return list(dict.fromkeys(above for name in names for above in _ancestors(name)))


def _ancestors(name: str) -> Iterator[str]:
    """The category with those above it, from the top.

    Example:
        >>> list(_ancestors(" Home >  Kitchen > Pans "))
        ['home', 'home > kitchen', 'home > kitchen > pans']
    """
    plain = unicodedata.normalize("NFC", name).casefold()
    # blanks on both ends, so that a > there parts something from nothing
    steps = [" ".join(step.split()) for step in _STEP.split(f" {plain} ")]
    path = ""
    for step in filter(None, steps):
        path = f"{path} > {step}" if path else step
        yield path
