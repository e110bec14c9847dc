"""An audit as a table and a few lines for people, and as JSON for machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fuserec.data.dataset import Dataset
from fuserec.data.report import count
from fuserec.features.audit.labels import label
from fuserec.features.audit.lift import Lift
from fuserec.features.audit.measure import Audit
from fuserec.features.audit.twins import Twin
from fuserec.features.worth import AsItStands, Worth

__all__ = [
    "HEADER",
    "as_json",
    "lift_of",
    "rounded",
    "rows",
    "share",
    "twin_lines",
    "worth_header",
    "worth_json",
    "worth_rows",
]

HEADER = (
    "modality",
    "made of",
    "items",
    "events",
    "shared",
    "chance",
    "lift",
    "shuffled",
    "doubles",
    "constant",
    "mean cosine",
    "directions",
    "verdict",
)

SHOWN = 3
"""Pairs of near-duplicates that are named."""


def rows(audits: Sequence[Audit]) -> Iterator[list[str]]:
    """A line of the table for each modality, under `HEADER`."""
    for one in audits:
        spread, twins = one.spread, one.twins
        yield [
            one.name,
            "a graph" if spread is None else f"{spread.width} features",
            share(one.items, one.of_items),
            share(one.events, one.of_events),
            f"{one.lift.shared:.3g}",
            f"{one.lift.chance:.3g}",
            lift_of(one.lift, error=True),
            lift_of(one.shuffled),
            "" if twins is None else f"{twins.pairs:,}",
            "" if spread is None else f"{spread.constant:,}",
            "" if spread is None else rounded(spread.mean_cosine),
            "" if spread is None else f"{spread.directions:.1f}",
            one.verdict,
        ]


def share(part: int, whole: int) -> str:
    """A share in per cent; 100 % only where nothing is missing.

    Example:
        >>> share(3706, 3706), share(9999, 10000), share(1, 10000)
        ('100 %', '99.9 %', '0.1 %')
    """
    if part in (0, whole):
        return "100 %" if part else "0 %"
    return f"{min(99.9, max(0.1, 100 * part / whole)):.1f} %"


def rounded(value: float) -> str:
    """Two digits, and no minus before zero.

    Example:
        >>> rounded(-0.001), rounded(-0.2)
        ('0.00', '-0.20')
    """
    return f"{round(value, 2) + 0.0:.2f}"


def lift_of(lift: Lift, *, error: bool = False) -> str:
    """The lift in words of figures, with two standard errors where ``error`` asks for them."""
    if lift.lift is None:
        return "-"
    return f"{lift.lift:.2f}" + (f" +-{2 * lift.error:.2f}" if error else "")


def twin_lines(dataset: Dataset, audits: Sequence[Audit]) -> Iterator[str]:
    """A line for each modality that has near-duplicates, with a few of them."""
    for one in audits:
        if one.twins is None or not one.twins.pairs:
            continue
        named = "; ".join(
            f"{_name(dataset, twin.first)} and {_name(dataset, twin.second)}"
            f" ({'identical' if twin.identical else f'{twin.cosine:.4f}'})"
            for twin in one.twins.examples[:SHOWN]
        )
        yield (
            f"{one.name}: {count(one.twins.pairs, 'pair')} of near-duplicates among {count(one.twins.items, 'item')}, "
            f"{one.twins.identical:,} identical: {named}"
        )


def _name(dataset: Dataset, item: int) -> str:
    called = label(dataset, item)
    return str(called.id) if called.title == str(called.id) else f"{called.id} {called.title!r}"


def as_json(dataset: Dataset, audits: Sequence[Audit]) -> list[dict[str, Any]]:
    """Plain values, items by id and title."""
    told = [one.as_json() for one in audits]
    for one, value in zip(audits, told, strict=True):
        if one.twins is not None:
            value["twins"]["examples"] = [_twin_json(dataset, twin) for twin in one.twins.examples]
    return told


def _twin_json(dataset: Dataset, twin: Twin) -> dict[str, Any]:
    first, second = label(dataset, twin.first), label(dataset, twin.second)
    return {
        "items": [first.id, second.id],
        "titles": [first.title, second.title],
        "cosine": twin.cosine,
        "identical": twin.identical,
    }


def worth_header(metrics: Sequence[str]) -> list[str]:
    """Over `worth_rows`."""
    return [
        "modality",
        "is",
        *(cell for metric in metrics for cell in (metric, "against the run as it is", "")),
    ]


def worth_rows(found: Sequence[Worth], metrics: Sequence[str]) -> Iterator[list[str]]:
    """A line for each modality and alteration; one that says so where it is not used."""
    for one in found:
        if not one.used:
            yield [one.modality, "unused", *[""] * (3 * len(metrics))]
        for change, compared in one.comparisons.items():
            cells = [one.modality, change]
            for metric in metrics:
                seen = compared[metric]
                interval = f"{seen.difference:+.4f} [{seen.low:+.4f}, {seen.high:+.4f}]"
                cells += [f"{seen.mean_a:.4f}", interval, seen.verdict]
            yield cells


def worth_json(standing: AsItStands, found: Sequence[Worth]) -> dict[str, Any]:
    """Plain values."""
    return {
        "part": "valid",
        "as_it_is": standing.evaluation.means(),
        "deviation_from_stored": standing.deviation,
        "modalities": [one.as_json() for one in found],
    }
