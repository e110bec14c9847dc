"""The runner of the losses over a catalogue, with small sizes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_runner_tells_circumstances_and_ratios_within_the_run() -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/softmax.py", "--rounds", "1", "--shrink", "50"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["threads"], told["clock"]) == (1, "process_time")
    for name in ("processor", "cores", "torch", "commit", "allocator"):
        assert told[name], name
    assert list(told["items"]) == ["68", "200", "2000"]
    for each in told["items"].values():
        taken = each["seconds"]
        assert list(taken) == ["products", "cross_entropy", "softmax", "sampled 5", "sampled 81"]
        # of one round, the median is that round's ratio
        of_base = {name: taken["cross_entropy"] / one for name, one in taken.items()}
        assert of_base.pop("cross_entropy") == 1.0
        assert each["speedup"] == pytest.approx(of_base)
        assert each["softmax_over_products"] == pytest.approx(taken["softmax"] / taken["products"])
    assert list(told["optimiser"]["speedup"]) == ["sparse_adam", "row_adam"]
