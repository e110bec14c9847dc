"""Interleaved timing: rivals run in turn in one process under one allocator, and the ratio is told.

Absolute times drift with the machine; the ratio of two neighbours in time does not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fuserec.training.allocator import keep_freed_memory
from fuserec.training.provenance import commit, machine

__all__ = ["interleaved", "main", "median_ratio", "parser_of", "report"]

GIB = 1 << 30


def interleaved(
    runs: Mapping[str, Callable[[], object]], rounds: int, *, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds by the clock (wall time) of every run in every round; one more round before them is the warm-up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            start = clock()
            run()
            times[name].append(clock() - start)
    return {name: values[1:] for name, values in times.items()}


def median_ratio(times: Mapping[str, list[float]], above: str, below: str) -> float:
    """The median over the rounds of seconds of ``above`` per second of ``below``."""
    return statistics.median(a / b for a, b in zip(times[above], times[below], strict=True))


def parser_of(description: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """A command line with ``--rounds``."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=rounds)
    return parser


def report(rounds: int, measure: Callable[[int], dict[str, Any]]) -> None:
    """Measure, and print JSON with the circumstances."""
    circumstances = {
        **machine(),
        "commit": commit(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB, 1),
        "spin_count": os.environ.get("GOMP_SPINCOUNT", "default"),
        "huge_pages": os.environ.get("THP_MEM_ALLOC_ENABLE", "0") == "1",
        "allocator": "freed memory kept" if keep_freed_memory() else "as the system has it",
        "rounds": rounds,
        "load_before": _load(),
    }
    result = measure(rounds)
    print(json.dumps({**circumstances, "load_after": _load(), **result}, indent=2))


def main(measure: Callable[[int], dict[str, Any]], description: str | None, *, rounds: int) -> None:
    """A benchmark without options of its own."""
    report(parser_of(description, rounds=rounds).parse_args().rounds, measure)


def _load() -> list[float]:
    """Processes that wanted to run, over the last 1, 5 and 15 minutes."""
    return [round(average, 2) for average in os.getloadavg()]


def _processor() -> str:
    """As Linux names it, with the numbers that tell apart what a cloud gives one name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    about = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    names = [about[key] for key in ("model name", "Model") if key in about][:1] or [platform.machine()]
    numbers = [f"{key} {about[key]}" for key in ("cpu family", "model", "stepping") if key in about]
    return ", ".join(names + numbers)
