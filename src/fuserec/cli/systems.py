"""How compared systems are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fuserec.cli import terminal

if TYPE_CHECKING:
    from fuserec.training.compare import Spread, System
    from fuserec.training.sweep import Job

__all__ = ["print_systems", "tell_missing"]


def print_systems(
    systems: Sequence[System],
    metrics: Sequence[str],
    *,
    title: str,
    json: bool = False,
    markdown: bool = False,
) -> None:
    """A table for people, the same in Markdown, or JSON with everything."""
    if json:
        terminal.print_json(_as_json(systems))
    elif markdown:
        terminal.print_markdown(*_as_rows(systems, metrics))
    else:
        terminal.print_table(*_as_rows(systems, metrics), title=title)


def tell_missing(jobs: Iterable[Job], *, quiet: bool) -> None:
    """Which seeds of which recipe have no result yet, a line a recipe on stderr."""
    seeds: dict[str, list[str]] = {}
    for job in jobs:
        seeds.setdefault(job.recipe.name, []).append(str(job.recipe.seed))
    for name, numbers in {} if quiet else seeds.items():
        terminal.note(f"missing: {name}, seed {', '.join(numbers)}")


def _as_json(systems: Sequence[System]) -> list[dict[str, Any]]:
    """Everything, with the verdicts written out."""
    rows = [asdict(system) for system in systems]
    for row, system in zip(rows, systems, strict=True):
        for name, value in system.metrics.items():
            if value.comparison is not None:
                row["metrics"][name]["comparison"]["verdict"] = value.comparison.verdict
    return rows


def _as_rows(systems: Sequence[System], metrics: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Header and cells: a column for each metric, and one for each comparison with the reference."""
    compared = any(value.comparison for system in systems for value in system.metrics.values())
    header = ["recipe", "seeds", *metrics]
    header += [f"{name}: difference [95 % interval]" for name in metrics] if compared else []
    rows = []
    for system in systems:
        cells = [_mean(system.metrics[name]) for name in metrics]
        cells += [_difference(system.metrics[name]) for name in metrics] if compared else []
        rows.append([system.name, str(len(system.seeds)), *cells, _seconds(system.fit_seconds)])
    return [*header, "fit"], rows


def _mean(value: Spread) -> str:
    return f"{value.mean:.4f}" + ("" if value.deviation is None else f" ± {value.deviation:.4f}")


def _difference(value: Spread) -> str:
    found = value.comparison
    if found is None:
        return "-"
    return f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}] {found.verdict}"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
