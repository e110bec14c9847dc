"""Draw and tabulate what benchmarks/histories.py measured, for docs/explanation/attention.md.

    python benchmarks/histories.py > benchmarks/results/histories.json
    python tools/draw_histories.py              write docs/images/histories-* and the page's tables

It takes matplotlib, which comes with the extra [plots].
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib.ticker import LogLocator

from draw_attention import IMAGES, PAGE, canvas, frame, label, markdown, save, with_table

__all__ = ["draw", "main", "table"]

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "histories.json"
BEGIN, END = (
    "<!-- made by tools/draw_histories.py: begin -->",
    "<!-- made by tools/draw_histories.py: end -->",
)
STYLES = {
    "dense softmax": ("dense, whole catalogue", "#7a7a7a", "^"),
    "dense sampled": ("dense, sampled", "#000000", "o"),
    "sparse softmax": ("sparse, whole catalogue", "#C04E00", "D"),
    "sparse sampled": ("sparse, sampled", "#0072B2", "s"),
    "dense": ("dense", "#000000", "o"),
    "sparse": ("sparse", "#0072B2", "s"),
}
FIGURES = """\
![Microseconds an event of a whole training step against the length of the history](../images/histories-time.svg)

![Peak memory of a training step on one history against its length](../images/histories-memory.svg)"""


def table(measured: dict[str, Any]) -> str:
    """The figures, the circumstances, the ratios, the memory and the epoch, in Markdown."""
    return "\n\n".join([FIGURES, _circumstances(measured), _steps(measured), _epoch(measured["epoch"])])


def _circumstances(measured: dict[str, Any]) -> str:
    threads = "One thread" if measured["threads"] == 1 else f"{measured['threads']} threads"
    pattern = ", ".join(f"{name} {value}" for name, value in measured["pattern"].items())
    return (
        f"**{threads}**: {measured['processor']}, {measured['cores']} cores, {measured['memory_gib']} GiB; torch "
        f"{measured['torch']}, Python {measured['python']}; attention {measured['attention']}; {measured['allocator']}; "
        f"{measured['clock'].replace('_', ' ')}, median of {measured['rounds']} rounds; load {measured['load_before'][0]} "
        f"before, {measured['load_after'][0]} after; commit {measured['commit'][:7]}. Width {measured['dim']}, "
        f"{measured['heads']} heads, {measured['layers']} layers; {pattern}; {measured['items']:,} items, "
        f"{measured['negatives']} negatives."
    )


def _steps(measured: dict[str, Any]) -> str:
    rows = []
    for length, each in measured["lengths"].items():
        speedup, memory = each["speedup"], measured["memory_mib"].get(length, {})
        rows.append(
            [
                f"{int(length):,}",
                *(f"{speedup[loss]:.2f}" if loss in speedup else "" for loss in ("sampled", "softmax")),
                *(f"{memory[form]:,.0f}" if form in memory else "" for form in ("dense", "sparse")),
            ]
        )
    head = [
        "events",
        "times as fast, sampled",
        "times as fast, whole catalogue",
        "MiB, dense",
        "MiB, sparse",
    ]
    return (
        f"Sparse against dense, a whole step; peak memory of a step on one history:\n\n{markdown(head, rows)}"
    )


def _epoch(epoch: dict[str, Any]) -> str:
    rows = [
        [
            form,
            f"{epoch['seconds'][form]:.2f}",
            f"{epoch['over_products'][form]:.2f}",
            f"{epoch['padding'][form]:.0%}",
        ]
        for form in epoch["seconds"]
    ]
    head = (
        f"An epoch of {epoch['events']:,} events in {epoch['histories']:,} histories as long as MovieLens-1M's, softmax over the "
        f"catalogue; sparse takes {epoch['sparse_over_dense']:.2f} times the time of dense, and matrix products alone reach "
        f"{epoch['product_gflops']:.0f} GFLOP/s:"
    )
    return f"{head}\n\n{markdown(['', 'seconds', 'time over its matrix products', 'padding'], rows)}"


def draw(measured: dict[str, Any], folder: Path) -> None:
    """Time and memory against the length, into that folder."""
    times = {length: each["microseconds"] for length, each in measured["lengths"].items()}
    _lines(times, "microseconds an event", "Time of a training step", folder / "histories-time.svg")
    if measured["memory_mib"]:
        title = "Peak memory of a training step on one history"
        _lines(
            measured["memory_mib"], "MiB above model and optimiser", title, folder / "histories-memory.svg"
        )


def _lines(values: dict[str, dict[str, float]], unit: str, title: str, path: Path) -> None:
    figure, axes = canvas(width=7.6, height=4.6)
    ends = []
    for key, (name, colour, marker) in STYLES.items():
        points = [(int(length), each[key]) for length, each in values.items() if key in each]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=5, linewidth=1.8)
            ends.append((*points[-1], name, colour))
    frame(axes, [int(length) for length in values], unit, title)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    label(axes, ends)
    save(figure, path)


def main() -> None:
    """Write the drawings and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--images", type=Path, default=IMAGES)
    chosen = parser.parse_args()
    measured = json.loads(chosen.results.read_text(encoding="utf-8"))
    draw(measured, chosen.images)
    page = with_table(chosen.page.read_text(encoding="utf-8"), table(measured), begin=BEGIN, end=END)
    chosen.page.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
