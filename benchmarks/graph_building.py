"""Exact neighbours of a whole catalogue: seconds and memory, 4,096 float32 columns in a memory-mapped file.

Each size is searched (k = 10, all rows present) by a fresh process, after a small search that loads the libraries. Memory is all the
anonymous pages that this process holds at most, libraries and all, sampled every 50 ms; pages of the mapped file,
which the system takes back when it needs them, are told apart. Every pair of items is multiplied once, so the bound below which no search can go is
I^2 * 4,096 operations (half of 2 I^2 * 4,096) at the speed of a plain product, measured in the same process.
Held: at most 2 GB of anonymous memory. The file of 200,000 items takes 3.3 GB of disk.

    python benchmarks/graph_building.py [--items 7000 23000 63000 200000] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fuserec.ops.knn import cosine_knn
from fuserec.training.allocator import keep_freed_memory

WIDTH, K, BLOCK, SQUARE = 4_096, 10, 1024, 2_048
GB, GB_ALLOWED = 1e9, 2.0
ITEMS_A_CENTRE, LEAST = 20, 2_048


class Memory(threading.Thread):
    """Watches the resident memory of this process until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = resident()
        self._stopped = threading.Event()

    def run(self) -> None:
        """Look every 50 ms."""
        while not self._stopped.wait(0.05):
            self.most = {kind: max(value, self.most[kind]) for kind, value in resident().items()}

    def stop(self) -> dict[str, float]:
        """The most of each kind, in GB."""
        self._stopped.set()
        self.join()
        return self.most


def resident() -> dict[str, float]:
    """GB of anonymous pages and of mapped files' pages that this process holds now."""
    fields = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    )
    names = {"anonymous": "RssAnon", "mapped": "RssFile"}
    return {kind: int(fields[name].split()[0]) * 1024 / GB for kind, name in names.items()}


def write_features(path: Path, items: int) -> None:
    """Random rows around random centres, 20 items a centre, in the order of chance; block by block."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(max(1, items // ITEMS_A_CENTRE), WIDTH, generator=generator)
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(items, WIDTH))
    for start in range(0, items, BLOCK):
        size = min(BLOCK, items - start)
        chosen = torch.randint(len(centres), (size,), generator=generator)
        file[start : start + size] = (centres[chosen] + torch.randn(size, WIDTH, generator=generator)).numpy()
    file.flush()


def operations_a_second() -> float:
    """Of a plain float32 product, the best of five."""
    square = torch.randn(SQUARE, SQUARE)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(square, square)
        seconds.append(time.perf_counter() - start)
    return 2 * SQUARE**3 / min(seconds)


def search(path: Path) -> dict[str, float]:
    """Seconds and memory of one search in this process."""
    keep_freed_memory()
    speed = operations_a_second()
    cosine_knn(torch.randn(LEAST, WIDTH), torch.ones(LEAST, dtype=torch.bool), K)
    features = np.load(path, mmap_mode="r", allow_pickle=False)
    watched = Memory()
    watched.start()
    start, used = time.perf_counter(), time.process_time()
    cosine_knn(features, torch.ones(len(features), dtype=torch.bool), K)
    seconds, processor = time.perf_counter() - start, time.process_time() - used
    most = watched.stop()
    floor = len(features) ** 2 * WIDTH / speed
    return {
        "seconds": seconds,
        "processor_seconds": processor,
        "floor_seconds": floor,
        "over_floor": seconds / floor,
        "anonymous_gb": most["anonymous"],
        "mapped_gb": most["mapped"],
    }


def main() -> int:
    """Measure, print one JSON document, and return 1 if the bound is broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, nargs="+", default=[7_000, 23_000])
    parser.add_argument("--folder", type=Path, help="where the features are written for a while")
    parser.add_argument("--write", type=Path, help="only write features of the first --items there")
    parser.add_argument("--search", type=Path, help="only search that file, in this process")
    chosen = parser.parse_args()
    if chosen.write:
        write_features(chosen.write, chosen.items[0])
        return 0
    if chosen.search:
        print(json.dumps(search(chosen.search)))
        return 0
    results: dict[str, Any] = {}
    for items in chosen.items:
        with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
            path = Path(folder) / "features.npy"
            subprocess.run(
                [sys.executable, __file__, "--items", str(items), "--write", str(path)], check=True
            )
            found = subprocess.run(
                [sys.executable, __file__, "--search", str(path)], stdout=subprocess.PIPE, check=True
            )
        results[str(items)] = json.loads(found.stdout)
        print(f"{items} items: done", file=sys.stderr)
    print(
        json.dumps({"threads": torch.get_num_threads(), "torch": str(torch.__version__), **results}, indent=2)
    )
    return int(any(result["anonymous_gb"] > GB_ALLOWED for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
