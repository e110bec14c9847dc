"""Exact neighbours by blocks, against the bare product of row chunks with all items and its top-k.

The bare form holds all unit rows in memory, keeps the item itself, and settles ties by chance. Memory is how far
the peak of a fresh process rises while it searches a memory-mapped file; the kept candidates, norms and
result take 400 bytes an item at k = 10, a matrix of all pairs 4 I^2.

    python benchmarks/knn.py [--rounds 5]
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import interleaved, main, median_ratio
from torch import Tensor

from fuserec.ops.knn import cosine_knn

K, CHUNK = 10, 1024
SHAPES = ((7_050, 256), (7_050, 4_096))
GROWTH, NARROW = (10_000, 20_000, 40_000), 64


def clustered(items: int, width: int) -> Tensor:
    """Random rows around random centres, with some exact copies, as catalogues have them."""
    rng = torch.Generator().manual_seed(0)
    centres = torch.randn(items // 20, width, generator=rng)
    rows = torch.randint(len(centres), (items,), generator=rng)
    features = centres[rows] + torch.randn(items, width, generator=rng)
    features[: items // 100] = features[items // 100 : 2 * (items // 100)]
    return features


def bare(features: Tensor) -> None:
    """The arithmetic alone."""
    unit = torch.nn.functional.normalize(features)
    for rows in unit.split(CHUNK):
        (rows @ unit.T).topk(K)


def search(features: Tensor | np.ndarray) -> None:
    """What is measured."""
    cosine_knn(features, torch.ones(len(features), dtype=torch.bool), K)


def growth(items: int) -> dict[str, float]:
    """MiB by which the peak of a fresh process rises in one search of a memory-mapped file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        np.save(path, clustered(items, NARROW).numpy())
        found = subprocess.run(
            [sys.executable, __file__, "--search", str(path)], capture_output=True, text=True, check=True
        )
    return {"search": float(json.loads(found.stdout)), "matrix_of_all_pairs": 4 * items**2 / 2**20}


def searched_alone(path: Path) -> float:
    """Searched once after a small search, which loads the libraries and makes blocks of the same size."""
    search(clustered(3 * CHUNK, NARROW))
    before = peak()
    search(np.load(path, mmap_mode="r", allow_pickle=False))
    return (peak() - before) / 1024


def peak() -> int:
    """Highest resident memory of this process so far in KiB; getrusage would count the parent's in."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def measure(rounds: int) -> dict[str, Any]:
    """Seconds and ratios by shape, and growth of the peak in MiB by number of items."""
    results: dict[str, Any] = {}
    for items, width in SHAPES:
        features = clustered(items, width)
        times = interleaved({"bare": partial(bare, features), "knn": partial(search, features)}, rounds)
        results[f"{items} x {width}"] = {
            "bare_seconds": statistics.median(times["bare"]),
            "knn_seconds": statistics.median(times["knn"]),
            "ratio": median_ratio(times, "knn", "bare"),
        }
    results["peak_growth_mib"] = {str(items): growth(items) for items in GROWTH}
    return results


if __name__ == "__main__":
    if sys.argv[1:2] == ["--search"]:
        print(json.dumps(searched_alone(Path(sys.argv[2]))))
    else:
        main(measure, __doc__, rounds=5)
