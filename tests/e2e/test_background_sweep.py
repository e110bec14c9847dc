"""A sweep that outlives its terminal: started, looked at, killed, taken up again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fuserec.testing.commands import RunCommand

RECIPE = """
name = "long"
[model]
name = "lightgcn"
dim = 4
[train]
epochs = 4000
patience = 4000
[loss_weights]
bpr = 1.0
l2 = 1e-4
[evaluation]
cutoffs = [20]
"""


@pytest.fixture
def options(made: Path, tmp_path: Path) -> list[object]:
    (tmp_path / "long.toml").write_text(RECIPE)
    return [
        *("--data", made / "data", "--results", tmp_path / "results/shop", "--runs", tmp_path / "runs"),
        *("--seeds", 2, "--set", "evaluation.cutoffs=[2, 20]"),
    ]


@pytest.fixture
def start() -> Iterator[Callable[..., dict[str, Any]]]:
    """Starts a background sweep by a real command; what still runs at the end is killed."""
    pids: list[int] = []

    def run(*arguments: object) -> dict[str, Any]:
        command = [sys.executable, "-m", "fuserec", "sweep", *map(str, arguments), "--background", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        told: dict[str, Any] = json.loads(done.stdout)
        pids.append(told["pid"])
        return told

    yield run
    for pid in pids:
        if runs(pid):
            os.kill(pid, signal.SIGKILL)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + 90
    while not until():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes where Linux shows them")
def test_a_background_sweep_is_told_stopped_taken_up_and_read(
    fuserec: RunCommand, start: Callable[..., dict[str, Any]], tmp_path: Path, options: list[object]
) -> None:
    recipe, log = tmp_path / "long.toml", tmp_path / "runs.sweep.log"
    told = start(recipe, *options)
    assert (told["log"], told["missing"]) == (str(log), 2)
    assert os.getsid(told["pid"]) == told["pid"], "a session of its own"
    wait(lambda: log.exists() and "epoch 3:" in log.read_text())

    refused = fuserec("sweep", recipe, *options)
    assert refused.code == 1
    assert f"but process {told['pid']} does" in refused.err
    assert "long, seed" not in refused.err

    os.kill(told["pid"], signal.SIGTERM)
    wait(lambda: not runs(told["pid"]))
    last = log.read_text().splitlines()[-1]
    assert last.startswith("interrupted: saved after epoch ")
    assert last.endswith("; the same command goes on from there")
    table = fuserec("sweep", recipe, *options, "--table")
    assert "missing: long, seed 0, 1" in table.err

    again = start(recipe, *options)
    wait(lambda: "resuming after epoch " in log.read_text())
    os.kill(again["pid"], signal.SIGKILL)
    wait(lambda: not runs(again["pid"]))
    assert (tmp_path / "runs" / ".sweep.lock").exists()

    short = ("--set", "train.epochs=2")
    outcome = fuserec("sweep", recipe, *options, *short, "--json")
    assert [system["seeds"] for system in outcome.json] == [[0, 1]]
    assert not (tmp_path / "runs" / ".sweep.lock").exists()


def test_a_background_sweep_with_nothing_to_do_shows_the_table(
    fuserec: RunCommand, made: Path, options: list[object]
) -> None:
    fuserec("sweep", made / "popularity.toml", *options)
    outcome = fuserec("sweep", made / "popularity.toml", *options, "--background")
    assert outcome.code == 0
    assert "popularity" in outcome.out
