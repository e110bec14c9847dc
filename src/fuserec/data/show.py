"""A dataset in words, from its manifest alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from fuserec.data.report import count
from fuserec.data.schema import EncoderEntry, Manifest

__all__ = ["describe"]


def describe(manifest: Manifest) -> str:
    """Markdown for people: counts, splits, modalities and what the build noticed."""
    return "\n".join(_lines(manifest)) + "\n"


def _lines(manifest: Manifest) -> Iterator[str]:
    counts = manifest.counts
    yield "# Dataset"
    yield ""
    if manifest.synthetic:
        yield "**Synthetic: made by a program, not by people.**"
        yield ""
    if manifest.shuffle_seed is not None:
        yield f"**Shuffled: features and graphs dealt anew among the items (seed {manifest.shuffle_seed}), as a control.**"
        yield ""
    files = ", ".join(source.name for source in manifest.sources.values())
    yield f"Built from {files} by {manifest.writer}, format version {manifest.format_version}."
    yield ""
    yield f"- {counts.users:,} users ({manifest.user_id_type} ids), {counts.items:,} items ({manifest.item_id_type} ids)"
    yield f"- {counts.interactions:,} interactions, density {100 * counts.density:.3g} %"
    yield f"- {counts.items_without_events:,} items without an event"
    if counts.first_time is not None and counts.last_time is not None:
        yield f"- times from {_moment(counts.first_time)} to {_moment(counts.last_time)}"
    yield f"- repeats: {manifest.options.repeats}"
    yield ""
    yield from _table(
        ["events a", *counts.history_quantiles],
        [
            ["user", *(f"{value:g}" for value in counts.history_quantiles.values())],
            ["item", *(f"{value:g}" for value in counts.popularity_quantiles.values())],
        ],
    )
    yield ""
    yield "## Splits"
    yield ""
    yield from _table(
        ["split", "kind", "train", "valid", "test", "test events on cold items", "users in train only"],
        [
            [
                name,
                split.kind,
                *(f"{number:,}" for number in (split.train, split.valid, split.test)),
                f"{split.cold_test:,}",
                f"{split.train_only_users:,}",
            ]
            for name, split in manifest.splits.items()
        ],
    )
    yield from _honesty(manifest)
    yield ""
    yield "## Modalities"
    yield ""
    yield from _modalities(manifest)
    yield ""
    yield "## What the build noticed"
    yield ""
    report = manifest.report
    yield f"{report.events_read:,} events read, {report.events_kept:,} kept, {report.events_rejected:,} left out."
    if report.findings:
        yield ""
    yield from (f"- {finding.line()}" for finding in report.findings)
    if report.events_rejected:
        yield ""
        yield "Rows left out are in rejected.parquet, with their line and the reason."


def _honesty(manifest: Manifest) -> Iterator[str]:
    """What each split keeps apart, what it leaks, and whom it leaves cold."""
    for name, split in manifest.splits.items():
        if not split.keeps:
            continue
        yield ""
        yield f"{name}:"
        yield ""
        yield f"- {split.keeps}"
        yield from (f"- {leak}" for leak in split.leaks)
        for part, start in (("Validation", split.valid_from), ("Test", split.test_from)):
            if start is not None:
                yield f"- {part} begins at {_moment(start, to_the_second=True)}."
        if split.cold_users or split.cold_items:
            cold = f"{count(split.cold_users or 0, 'user')} and {count(split.cold_items or 0, 'item')}"
            yield f"- {cold} with held-out events have no training event."


def _modalities(manifest: Manifest) -> Iterator[str]:
    if not manifest.modalities:
        yield "None."
        return
    items = manifest.counts.items
    rows = []
    for name, modality in manifest.modalities.items():
        features, graph = modality.features, modality.graph
        rows.append(
            [
                name,
                f"{features.width} {features.dtype}" if features else "-",
                f"{features.present:,} of {items:,}" if features else "-",
                f"{graph.neighbours} neighbours" if graph else "-",
                f"{graph.present:,} of {items:,}" if graph else "-",
            ]
        )
    yield from _table(["modality", "features", "items with features", "graph", "items with neighbours"], rows)
    for name, modality in manifest.modalities.items():
        if modality.features and modality.features.encoder:
            yield from ("", f"{name}: {_made(modality.features.encoder)}")


def _made(encoder: EncoderEntry) -> str:
    """How features were made, and what was wrong with the inputs."""
    told = ", ".join(f"{kind} {number:,}" for kind, number in encoder.problems.items())
    return f"made by fuserec with {encoder.name}" + (f"; of the inputs: {told}" if told else "")


def _table(header: list[str], rows: list[list[str]]) -> Iterator[str]:
    """A Markdown table whose columns also line up in a terminal."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for index, row in enumerate([header, *rows]):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        if index == 0:
            yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"


def _moment(seconds: int, *, to_the_second: bool = False) -> str:
    form = "%Y-%m-%d %H:%M:%S UTC" if to_the_second else "%Y-%m-%d %H:%M UTC"
    return datetime.fromtimestamp(seconds, UTC).strftime(form)
