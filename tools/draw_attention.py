"""Draw and tabulate what benchmarks/attention.py measured, for docs/explanation/attention.md.

    python benchmarks/attention.py > benchmarks/results/attention.json
    python benchmarks/attention.py --threads 2 > benchmarks/results/attention-two-threads.json
    python tools/draw_attention.py              write docs/images/attention-* and the page's tables
    python tools/draw_attention.py --sight      only the drawing of who sees what, which needs no measurement

It takes matplotlib, which comes with the extra [plots]. The ground is white and covers the drawing, so that it reads on dark
pages too; colours are told apart by the colour-blind, and every line has its name beside it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from fuserec.ops.attention import reference
from fuserec.ops.attention.pattern import Pattern
from fuserec.ops.attention.summaries import Summaries
from fuserec.ops.attention.visibility import in_earlier_block, in_own_block, in_window

__all__ = [
    "canvas",
    "draw",
    "draw_sight",
    "frame",
    "label",
    "main",
    "markdown",
    "save",
    "table",
    "with_table",
]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "attention.json"
FURTHER = (RESULTS.with_name("attention-two-threads.json"),)
"""Results that are tabulated below, where there are any, and not drawn."""
PAGE = ROOT / "docs" / "explanation" / "attention.md"
IMAGES = ROOT / "docs" / "images"
BEGIN, END = (
    "<!-- made by tools/draw_attention.py: begin -->",
    "<!-- made by tools/draw_attention.py: end -->",
)

NAMES = {
    "dense": "dense, torch's causal attention",
    "native": "native",
    "native_group_8": "native, group 8",
    "blocked": "blocked",
    "blocked_group_8": "blocked, group 8",
    "matmul_mask_softmax": "matmul + mask + softmax",
    "multihead_attention": "nn.MultiheadAttention, masks",
}
STYLES = {
    "dense": ("#000000", "o"),
    "native": ("#0072B2", "s"),
    "blocked": ("#C04E00", "D"),
    "matmul_mask_softmax": ("#00795A", "^"),
    "multihead_attention": ("#A8528A", "v"),
}
"""Of the lines that are drawn: colours of Okabe and Ito, darkened where they are too light for letters."""

SIGHT_LENGTH, SIGHT = 64, Pattern(window=8, block=8, selected=2, group=8)
INK, FONT = "#1a1a1a", 11


def table(measured: dict[str, Any], further: Sequence[dict[str, Any]] = ()) -> str:
    """The circumstances, the ratios and the growth, in Markdown; of further measurements the ratios alone."""
    parts = [_circumstances(measured), _ratios(measured), _products(measured), _growth(measured)]
    for each in further:
        parts += [_circumstances(each), _ratios(each)]
    return "\n\n".join(parts)


def _circumstances(measured: dict[str, Any]) -> str:
    threads = "One thread" if measured["threads"] == 1 else f"{measured['threads']} threads"
    library = measured["library"]
    by = (
        f"native for {library['instruction_set']} by {library['compiler']}"
        if library
        else "native not compiled"
    )
    return (
        f"**{threads}**: {measured['processor']}, {measured['cores']} cores, {measured['memory_gib']} GiB; torch "
        f"{measured['torch']}, Python {measured['python']}; {by}; {measured['allocator']}; median of "
        f"{measured['rounds']} rounds; load {measured['load_before'][0]} before, {measured['load_after'][0]} after; "
        f"commit {measured['commit'][:7]}; tests: {measured['tests']['outcome']}."
    )


def with_table(page: str, text: str, *, begin: str = BEGIN, end: str = END) -> str:
    """A page with other text between its two marks."""
    head, rest = page.split(begin)
    return f"{head}{begin}\n{text}\n{end}{rest.split(end)[1]}"


def _ratios(measured: dict[str, Any]) -> str:
    lengths = measured["lengths"]
    present = [name for name in NAMES if any(name in each["forward"]["speedup"] for each in lengths.values())]
    forms = [name for name in present if name != "dense"]
    rows = []
    for length, each in lengths.items():
        before, after = each["forward"]["speedup"], each["forward_and_backward"]["speedup"]
        cells = [f"{before[name]:.2f} / {after[name]:.2f}" if name in after else "" for name in forms]
        rows.append([f"{int(length):,}", *cells])
    head = "Times as fast as dense attention, forward / forward and backward:"
    return f"{head}\n\n{markdown(['events', *(NAMES[name] for name in forms)], rows)}"


def _products(measured: dict[str, Any]) -> str:
    rows = []
    for length, each in measured["lengths"].items():
        both = each["forward_and_backward"]
        cells = [
            f"{both['product_times'][name]:.2f}"
            for name in ("native", "blocked")
            if name in both["product_times"]
        ]
        rows.append([f"{int(length):,}", *cells, f"{both['product_gflops']:.0f}"])
    forms = [name for name in ("native", "blocked") if name in both["product_times"]]
    head = (
        "Time forward and backward over that of a matrix product with as many operations as the keys ask for "
        "(below some 500 events the calls themselves weigh):"
    )
    return f"{head}\n\n{markdown(['events', *forms, 'GFLOP/s of the product'], rows)}"


def _growth(measured: dict[str, Any]) -> str:
    rows = []
    for setting, each in measured["growth"].items():
        first, last = each["lengths"]
        cells = [
            f"{each['microseconds'][f'{form} {first}']:.2f} -> {each['microseconds'][f'{form} {last}']:.2f}, "
            f"x {grown:.2f}"
            for form, grown in each["growth"].items()
        ]
        rows.append([setting, *cells, f"x {each['growth_of_keys']:.2f}"])
    forms = list(each["growth"])
    head = f"Microseconds for an event and head, forward and backward, from {first:,} to {last:,} events:"
    return f"{head}\n\n{markdown(['', *forms, 'keys that an event sees'], rows)}"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def draw(measured: dict[str, Any], folder: Path) -> None:
    """Time and memory against the length, into that folder."""
    times = {
        length: each["forward_and_backward"]["microseconds"] for length, each in measured["lengths"].items()
    }
    _lines(
        times,
        "microseconds for an event and head",
        "Time, forward and backward",
        folder / "attention-time.svg",
    )
    if measured["memory_mib"]:
        _lines(
            measured["memory_mib"],
            "MiB above the inputs",
            f"Peak memory of one history, {measured['heads']} heads, forward and backward",
            folder / "attention-memory.svg",
        )


def _lines(values: dict[str, dict[str, float]], unit: str, title: str, path: Path) -> None:
    figure, axes = canvas(width=7.6, height=4.6)
    ends = []
    for name, (colour, marker) in STYLES.items():
        points = [(int(length), each[name]) for length, each in values.items() if name in each]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=5, linewidth=1.8)
            ends.append((*points[-1], NAMES[name], colour))
    frame(axes, [int(length) for length in values], unit, title)
    label(axes, ends)
    save(figure, path)


def frame(axes: Axes, lengths: Sequence[int], unit: str, title: str) -> None:
    """Logarithmic axes over the lengths of histories."""
    axes.set(xscale="log", yscale="log", xlabel="events of a history", ylabel=unit)
    axes.set_xticks(
        lengths, [f"{length // 1024}k" if length % 1024 == 0 else f"{length:,}" for length in lengths]
    )
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.set_title(title, loc="left", fontsize=FONT + 1, color=INK)
    axes.grid(color="#dddddd", linewidth=0.7)
    for spine in ("top", "right"):
        axes.spines[spine].set_visible(False)


def label(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """A line's name to the right of its end; names that would lie on one another are moved apart."""
    apart = FONT + 3  # points from one name to the next
    height = axes.get_position().height * axes.figure.get_figheight() * 72  # type: ignore[union-attr]
    for x in {end[0] for end in ends}:
        here = sorted((end for end in ends if end[0] == x), key=lambda end: end[1])
        places = [axes.transData.transform((x, y))[1] / axes.bbox.height * height for _, y, _, _ in here]
        moved: list[float] = []
        for place in places:
            moved.append(max(place, moved[-1] + apart) if moved else place)
        down = (sum(moved) - sum(places)) / len(places)  # as much down as up
        for (_, y, name, colour), place, move in zip(here, places, moved, strict=True):
            axes.annotate(
                name,
                (x, y),
                xytext=(9, move - place - down),
                textcoords="offset points",
                va="center",
                color=colour,
                fontsize=FONT,
                annotation_clip=False,
                path_effects=[withStroke(linewidth=4, foreground="white")],
            )


def draw_sight(folder: Path) -> None:
    """Which event sees which in each branch, by the predicates that the operator computes with."""
    generator = torch.Generator().manual_seed(5)
    q, k = torch.randn(2, 1, 1, SIGHT_LENGTH, 16, generator=generator)
    at = torch.arange(SIGHT_LENGTH)
    query, block = at[:, None], SIGHT.block
    choice = reference.choose(q, k, SIGHT, Summaries())[0].repeat_interleave(SIGHT.group, 0)
    chosen = (choice[..., None] == at // block).any(1)
    own = in_own_block(query, at, block)
    window = in_window(query, at, SIGHT.window)
    # the level says how an event is seen: 1 as itself, 2 within its block's mean
    panels = {
        f"windowed: the last {SIGHT.window},\nitself included": window.long(),
        "block-level: means of\nearlier blocks": 2 * in_earlier_block(query, at // block, block).long(),
        f"selective: {SIGHT.selected} chosen blocks\nand the own": (chosen | own).long(),
    }
    figure = Figure(figsize=(7.6, 3.3), facecolor="white", layout="constrained")
    colours = ListedColormap(["#ffffff", "#0072B2", "#E8A33D"])
    for axes, (title, level) in zip(figure.subplots(1, 3, sharey=True), panels.items(), strict=True):
        axes.pcolormesh(level.numpy(), cmap=colours, vmin=0, vmax=2)
        axes.set_xticks(range(0, SIGHT_LENGTH + 1, 2 * block))
        axes.set_yticks(range(0, SIGHT_LENGTH + 1, 2 * block))
        axes.vlines(range(0, SIGHT_LENGTH, block), 0, SIGHT_LENGTH, color="#cccccc", linewidth=0.5)
        axes.hlines(range(0, SIGHT_LENGTH, block), 0, SIGHT_LENGTH, color="#cccccc", linewidth=0.5)
        axes.set(xlim=(0, SIGHT_LENGTH), ylim=(SIGHT_LENGTH, 0), aspect="equal", xlabel="event that is seen")
        axes.set_title(title, fontsize=FONT, color=INK)
    figure.axes[0].set_ylabel("event that sees")
    # thousands of squares are smaller as points than as shapes
    figure.savefig(folder / "attention-sight.png", dpi=150, facecolor="white", metadata={"Software": None})


def canvas(*, width: float, height: float) -> tuple[Figure, Axes]:
    """A white figure, with room on the right for names."""
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((0.09, 0.12, 0.6, 0.78))
    axes.tick_params(labelsize=FONT - 1, colors=INK)
    return figure, axes


def save(figure: Figure, path: Path) -> None:
    """The same drawing gives the same bytes: no date, no random names."""
    with mpl.rc_context({"svg.hashsalt": "fuserec"}):
        figure.savefig(path, format="svg", facecolor="white", metadata={"Date": None})
    # the library leaves blanks at line ends
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(line.rstrip() for line in lines) + "\n", encoding="utf-8")


def main() -> None:
    """Write the drawings and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument(
        "--further", type=Path, nargs="*", default=[path for path in FURTHER if path.exists()]
    )
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--images", type=Path, default=IMAGES)
    parser.add_argument("--sight", action="store_true", help="only the drawing of who sees what")
    chosen = parser.parse_args()
    draw_sight(chosen.images)
    if not chosen.sight:
        measured = json.loads(chosen.results.read_text(encoding="utf-8"))
        draw(measured, chosen.images)
        further = [json.loads(path.read_text(encoding="utf-8")) for path in chosen.further]
        page = with_table(chosen.page.read_text(encoding="utf-8"), table(measured, further))
        chosen.page.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
