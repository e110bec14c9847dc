"""How much longer ``fuserec --help`` takes than bare Python.

    python benchmarks/startup.py [--runs 15]

The two are started in turn, so that a busy machine slows both alike, and the middle of the differences
is told. The promise is at most 0.3 s.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import fuserec": ["-c", "import fuserec"],
    "fuserec --help": ["-m", "fuserec", "--help"],
}
ALLOWED = 0.3


def seconds(arguments: list[str]) -> float:
    """Wall-clock seconds of one run of this interpreter."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> int:
    """Measure, print one JSON document, and return 1 if the promise is broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for round_number in range(runs + 1):
        for name, arguments in COMMANDS.items():
            elapsed = seconds(arguments)
            if round_number:  # the first round only warms the disk cache
                taken[name].append(elapsed)
    bare = taken["python -c pass"]
    extra = {
        name: statistics.median(mine - base for mine, base in zip(times, bare, strict=True))
        for name, times in taken.items()
    }
    report = {
        "runs": runs,
        "median_seconds": {name: round(statistics.median(times), 4) for name, times in taken.items()},
        "more_than_bare_python": {name: round(value, 4) for name, value in extra.items()},
        "allowed": ALLOWED,
    }
    print(json.dumps(report, indent=2))
    return int(extra["fuserec --help"] > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
