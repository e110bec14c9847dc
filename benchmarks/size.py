"""How long a build of a large CSV log takes, and how much memory: the command as people run it, in its own process.

The log is generated in the shape of MovieLens: a quarter of a million users at most, 60,000 items, half stars, whole
seconds; about one event in twenty is a duplicate and is left out. Held: one million rows in less than 1 GB, 25 million in less than 6 GB.

    python benchmarks/size.py [--rows 1000000 25000000]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ITEMS, EVENTS_A_USER, CHUNK = 60_000, 150, 1_000_000
GB_ALLOWED = {1_000_000: 1.0, 25_000_000: 6.0}
GB = 1e9


def write_log(path: Path, rows: int) -> None:
    """A CSV log grouped by user, its times in no order."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for start in range(0, rows, CHUNK):
            size = min(CHUNK, rows - start)
            frame = pl.DataFrame(
                {
                    "userId": (start + np.arange(size)) // EVENTS_A_USER + 1,
                    "movieId": (rng.random(size) ** 3 * ITEMS).astype(np.int64) * 3 + 1,
                    "rating": rng.integers(1, 11, size) / 2,
                    "timestamp": rng.integers(900_000_000, 1_600_000_000, size),
                }
            )
            frame.write_csv(file, include_header=not start)


def run(arguments: list[str]) -> tuple[float, float]:
    """Seconds, and the peak of resident memory in GB, of this interpreter with other arguments."""
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    # Of this child alone, which the usage of all children is not. The parent loads no library before,
    # since a child counts what its parent held when it was made.
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the command ended with {process.returncode}: {' '.join(arguments)}")
    return seconds, usage.ru_maxrss * 1024 / GB


def measure(rows: int) -> dict[str, Any]:
    """Build one log."""
    with tempfile.TemporaryDirectory() as folder:
        log, out = Path(folder) / "ratings.csv", Path(folder) / "dataset"
        run([__file__, "--rows", str(rows), "--write", str(log)])
        size = log.stat().st_size
        seconds, peak = run(["-m", "fuserec", "data", "build", str(out), "--events", str(log)])
        report = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["report"]
    return {
        "file_gb": round(size / GB, 3),
        "seconds": round(seconds, 1),
        "peak_gb": round(peak, 2),
        "peak_gb_allowed": GB_ALLOWED.get(rows),
        "events_read": report["events_read"],
        "events_left_out": report["events_rejected"],
    }


def main() -> int:
    """Measure, print one JSON document, and return 1 if a bound is broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=sorted(GB_ALLOWED))
    parser.add_argument("--write", type=Path, help="only write a log of the first --rows there")
    arguments = parser.parse_args()
    if arguments.write:
        write_log(arguments.write, arguments.rows[0])
        return 0
    results = {str(rows): measure(rows) for rows in arguments.rows}
    print(json.dumps({"processors": os.cpu_count(), **results}, indent=2))
    return int(
        any(result["peak_gb"] > (result["peak_gb_allowed"] or float("inf")) for result in results.values())
    )


if __name__ == "__main__":
    sys.exit(main())
