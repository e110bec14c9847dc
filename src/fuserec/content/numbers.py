"""Numbers and prices become rows that are the more alike, the nearer two numbers stand in the order of all.

A standardised number would be a vector of width one, and a cosine knows two values there, 1 and -1: all that is above the mean
would be the same. And prices differ by factors, not by sums. So what counts is where a number stands among those
of the catalogue, its quantile, and a row is how near that is to each of some places between 0 and 1.

Shape legend
    I  items   Q  knots   W  width of a row
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fuserec.content.encoder import Problem
from fuserec.errors import ConfigError
from fuserec.shapes import Bool, Float

__all__ = [
    "MOST_KNOTS",
    "NumberFeatures",
    "NumberScale",
    "ParsedNumbers",
    "encode_numbers",
    "number_features",
    "parse_numbers",
]

MOST_KNOTS = 1001
"""Numbers kept of the catalogue's, at most."""

_BEYOND = 2
"""Places beyond each end, so that a number at the end has neighbours on both sides."""

_PARTS = re.compile(r"(?P<before>\D*?)(?P<digits>[.,]?\d(?:.*\d)?)(?P<after>\D*)", re.DOTALL)
"""All from the first digit to the last, and what stands around it."""

_BLANKS = " \u00a0\u2009\u202f"
_WRITTEN = {
    point: re.compile(
        rf"(?:[1-9]\d{{0,2}}(?P<gap>[{other}'\u2019{_BLANKS}])\d{{3}}(?:(?P=gap)\d{{3}})*|\d+)?(?:[{point}]\d+)?(?:[eE][+-]?\d+)?"
    )
    for point, other in ((".", ","), (",", "."))
}
"""How numbers are written, by their decimal sign."""

_IN_UNITS = "./%\u00b0\u00b2\u00b3'\" "
"""May stand in a unit beside letters and signs of currencies."""

_LONGEST_SHOWN = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedNumbers:
    """A column as numbers.

    Attributes:
        values: (I,) float64, NaN where there is none.
        problems: texts that are no number, item by item; an empty one is just missing.
        told: sentences on the whole.
        point: the decimal sign of its texts.
        unit: of its texts, in small letters; empty where they have none.
    """

    values: Float[NDArray[np.float64], " I"]
    problems: tuple[Problem, ...] = ()
    told: tuple[str, ...] = ()
    point: str = "."
    unit: str = ""


def parse_numbers(column: Sequence[Any], *, like: ParsedNumbers | None = None) -> ParsedNumbers:
    """Read a column of numbers, or of texts such as ``$1,299.00``, ``1.299,00 EUR`` or ``12 kg``.

    A column has one way to write numbers, the one in which more of its texts can be read (where as many can in both, the
    decimal sign is the point), and one unit or currency, its commonest. What is not written so is refused and told, since
    ``500 g`` among kilograms and ``12,90`` among points would be wrong numbers, not missing ones. A number without a unit
    is taken as one in the column's; that is told too. Ranges, sizes (``3 x 4``) and words are refused.

    Args:
        column: I numbers, texts or None. NaN, infinity and empty texts are missing.
        like: a column that this one goes on; its decimal sign and unit count, whatever most texts have here.

    Example:
        >>> found = parse_numbers(["$1,299.00", "$12.90", "cheap", None, 5])
        >>> found.values.tolist()
        [1299.0, 12.9, nan, nan, 5.0]
        >>> [(one.position, one.message) for one in found.problems]
        [(2, "expected a number, got 'cheap'")]
    """
    values = np.full(len(column), np.nan)
    texts: dict[int, str] = {}
    for item, value in enumerate(column):
        if isinstance(value, str):
            if value.strip():
                texts[item] = value
        elif value is not None:
            values[item] = _as_float(value)
    taken = {item: _taken_apart(text) for item, text in texts.items()}
    point, unit = _way(taken.values()) if like is None else (like.point, like.unit)
    problems, told = _read_texts(texts, taken, values, point, unit)
    values[~np.isfinite(values)] = np.nan
    return ParsedNumbers(values=values, problems=tuple(problems), told=tuple(told), point=point, unit=unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberScale:
    """The fit: which number stands where in the order of the catalogue. Plain arrays.

    Attributes:
        values: (Q,) ascending, each once.
        quantiles: (Q,) where each stands, from 0 to 1; equal numbers stand in the middle of their places.
        width: W.
    """

    values: Float[NDArray[np.float64], " Q"]
    quantiles: Float[NDArray[np.float64], " Q"]
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberFeatures:
    """Rows, and the fit that made them.

    Attributes:
        rows: (I, W) of length 1, zero where there is no number.
        present: (I,) items with a number.
        scale: the fit, for new items.
    """

    rows: Float[NDArray[np.float32], "I W"]
    present: Bool[NDArray[np.bool_], " I"]
    scale: NumberScale


def number_features(values: Float[NDArray[np.float64], " I"], *, width: int = 16) -> NumberFeatures:
    """Fit the quantiles of all numbers, and encode them.

    The cosine of two rows is exp(-(d / 2 h)^2) to within 0.01, d the distance of the quantiles and h = 1 / (width - 5): with
    the default a half at a distance of 0.15, and nothing at half the catalogue.

    Args:
        values: (I,) as `parse_numbers` gives them; NaN and infinity are missing.
        width: W, at least 6; wider tells nearer numbers apart.

    Raises:
        ConfigError: ``width`` is below 6.

    Example:
        >>> rows = number_features(np.array([1.0, 2.0, 3.0, 1000.0, np.nan])).rows
        >>> [round(float(value), 2) for value in rows @ rows[1]]
        [0.03, 1.0, 0.03, 0.0, 0.0]
    """
    if width < 2 * _BEYOND + 2:
        raise ConfigError(f"expected a width of at least {2 * _BEYOND + 2}, got {width}")
    given, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    middle = counts.cumsum() - counts + (counts - 1) / 2
    quantiles = middle / max(1, counts.sum() - 1) if len(given) != 1 else np.array([0.5])
    if len(given) > MOST_KNOTS:
        wanted = np.linspace(quantiles[0], quantiles[-1], MOST_KNOTS)
        knots = np.unique(np.searchsorted(quantiles, wanted))
        given, quantiles = given[knots], quantiles[knots]
    return encode_numbers(values, NumberScale(values=given, quantiles=quantiles, width=width))


def encode_numbers(values: Float[NDArray[np.float64], " I"], scale: NumberScale) -> NumberFeatures:
    """Encode numbers by a fit to others; beyond its ends they count as the ends.

    Args:
        values: (I,); NaN and infinity are missing, as is everything where the fit had no number.
        scale: of `number_features`.
    """
    present = np.isfinite(values) & bool(len(scale.values))
    rows = np.zeros((len(values), scale.width), dtype=np.float32)
    if present.any():
        step = 1 / (scale.width - 1 - 2 * _BEYOND)
        places = (np.arange(scale.width) - _BEYOND) * step
        quantile = np.interp(values[present], scale.values, scale.quantiles)
        near = np.exp(-(((quantile[:, None] - places) / step) ** 2) / 2)
        rows[present] = near / np.linalg.norm(near, axis=1, keepdims=True)
    return NumberFeatures(rows=rows, present=present, scale=scale)


def _as_float(value: Any) -> float:
    if not isinstance(value, int | float | Decimal | np.number | np.bool_):
        raise TypeError(f"expected a number, a text or None, got {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        return float("inf")


@dataclass(frozen=True, slots=True)
class _Text:
    """A text taken apart: its digits with what parts them, and its unit in small letters."""

    digits: str
    negative: bool
    unit: str

    def written(self, point: str) -> bool:
        """Whether the digits are a number with this decimal sign."""
        return _WRITTEN[point].fullmatch(self.digits) is not None

    def number(self, point: str) -> float:
        """The number, which must be so written."""
        kept = "".join(sign for sign in self.digits if sign.isdigit() or sign in f"{point}eE+-")
        return float(("-" if self.negative else "") + kept.replace(point, "."))


def _way(taken: Iterable[_Text | None]) -> tuple[str, str]:
    """The decimal sign by which most can be read, and the commonest unit."""
    readable = [one for one in taken if one is not None]
    point = max(".,", key=lambda sign: sum(one.written(sign) for one in readable))
    units = Counter(one.unit for one in readable if one.unit)
    return point, min(units, key=lambda name: (-units[name], name), default="")


def _read_texts(
    texts: dict[int, str], taken: dict[int, _Text | None], values: NDArray[np.float64], point: str, unit: str
) -> tuple[list[Problem], list[str]]:
    """Put the numbers of the texts into ``values``; tell what is none, and what was supposed."""
    problems, bare = [], 0
    for item, one in taken.items():
        expected = _expected(one, point, unit)
        if one is None or expected:
            message = f"expected {expected}, got {_shortened(texts[item])!r}"
            problems.append(Problem(position=item, kind="not a number", message=message, lost=True))
            continue
        values[item] = one.number(point)
        bare += bool(unit and not one.unit)
    told = [f"numbers without a unit taken as in {unit!r}: {bare:,}"] if bare else []
    return problems, told


def _taken_apart(text: str) -> _Text | None:
    """None where there is no digit, or something around them that changes the number, such as brackets."""
    found = _PARTS.fullmatch(text.strip().replace("\u2212", "-"))
    if found is None:
        return None
    before, after = found["before"].strip(), found["after"].strip()
    bare = before.removeprefix("-").removesuffix("-") if before.count("-") == 1 else before.removeprefix("+")
    unit = " ".join(f"{bare} {after}".split()).casefold()
    if not all(sign.isalpha() or unicodedata.category(sign) == "Sc" or sign in _IN_UNITS for sign in unit):
        return None
    return _Text(digits=found["digits"], negative="-" in before, unit=unit)


def _expected(one: _Text | None, point: str, unit: str) -> str:
    """What the column has where this text has something else; nothing where it is a number as the others."""
    if one is None or not (one.written(".") or one.written(",")):
        return "a number"
    if not one.written(point):
        return f"a number with a decimal {'point' if point == '.' else 'comma'}, as most of the column"
    if one.unit not in ("", unit):
        return f"a number in {unit!r}, as most of the column" if unit else "a number without a unit"
    return ""


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."
