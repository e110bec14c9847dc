"""The runner of training steps on long histories with the smallest settings, and what is drawn of its results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fuserec.batch import Histories

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "histories.json"
PAGE = ROOT / "docs" / "explanation" / "attention.md"


def program(*arguments: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the runner prints."""
    path = tmp_path_factory.mktemp("results") / "histories.json"
    sizes = (
        "--lengths",
        "40",
        "72",
        "--dense-to",
        "40",
        "--events",
        "80",
        "--memory",
        "--epoch-events",
        "500",
    )
    path.write_text(program("benchmarks/histories.py", "--rounds", "1", *sizes))
    return path


@pytest.fixture
def histories(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import histories

    return histories


@pytest.mark.slow
def test_the_runner_tells_circumstances_ratios_and_an_epoch(results: Path) -> None:
    told = json.loads(results.read_text())
    assert (told["threads"], told["clock"]) == (1, "process_time")
    for name in ("processor", "cores", "memory_gib", "torch", "python", "commit", "allocator", "attention"):
        assert told[name], name
    short, long = told["lengths"]["40"], told["lengths"]["72"]
    assert (short["histories"], long["histories"]) == (2, 1)
    assert long["microseconds"].keys() == {"sparse sampled", "sparse softmax"}
    assert not long["speedup"], "beyond the longest for dense attention there is nothing to compare with"
    # of one round, the median is that round's ratio
    taken = short["microseconds"]
    for loss, speedup in short["speedup"].items():
        assert speedup == pytest.approx(taken[f"dense {loss}"] / taken[f"sparse {loss}"])
    epoch = told["epoch"]
    assert epoch["sparse_over_dense"] == pytest.approx(epoch["seconds"]["sparse"] / epoch["seconds"]["dense"])
    assert epoch["padding"] == {"dense": 0.0, "sparse": 0.0}
    assert all(value > 0 for value in epoch["over_products"].values())


@pytest.mark.slow
def test_what_the_runner_tells_is_drawn_and_tabulated(results: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="comes with the extra [plots]")
    told = json.loads(results.read_text())
    told["memory_mib"] = {"40": {"dense": 1.0, "sparse": 2.0}, "72": {"sparse": 3.0}}
    changed, page = tmp_path / "histories.json", tmp_path / "page.md"
    changed.write_text(json.dumps(told))
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    where = ("--results", str(changed), "--page", str(page), "--images", str(tmp_path))
    program("tools/draw_histories.py", *where)
    speedup = told["lengths"]["40"]["speedup"]
    row = f"| 40 | {speedup['sampled']:.2f} | {speedup['softmax']:.2f} | 1 | 2 |"
    assert row in page.read_text(encoding="utf-8")
    for name in ("histories-time.svg", "histories-memory.svg"):
        assert (tmp_path / name).read_text(encoding="utf-8").startswith("<?xml")


def test_the_table_of_the_page_is_that_of_the_kept_results(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="comes with the extra [plots]")
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import draw_histories

    page = PAGE.read_text(encoding="utf-8")
    # before there are results, there is no table
    kept = draw_histories.table(json.loads(RESULTS.read_text(encoding="utf-8"))) if RESULTS.exists() else ""
    assert page.split(draw_histories.BEGIN)[1].split(draw_histories.END)[0].strip() == kept


@pytest.mark.slow
def test_peak_memory_of_a_step_grows_with_the_history_and_no_faster(histories: Any) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak is measured on Linux alone")
    one, four = (
        float(program("benchmarks/histories.py", "--peak", "sparse", length)) for length in ("2048", "8192")
    )
    assert 2 < four / one < 6


def test_lengths_are_those_of_movielens(histories: Any) -> None:
    corpus = histories.like_movielens(98_700)
    lengths = Histories.of(corpus.train, num_users=corpus.num_users).lengths
    assert len(corpus.train) == pytest.approx(98_700, rel=0.15)
    assert lengths.double().median().item() == pytest.approx(96, rel=0.15)
    assert lengths.max() <= 2_314
    assert corpus.num_items == 3_416


def test_operations_are_those_of_the_products(histories: Any) -> None:
    corpus = histories.long(2, 3)
    # two layers of qkv, out, up and down; the catalogue; 1 + 2 + 3 keys an event and head
    weights = 2 * (4 * 64 * 64 + 2 * 64 * 256) + 3_416 * 64
    assert histories.operations("dense", corpus) == 6 * 6 * weights + 2 * 2 * 14 * 32 * 2 * 6
    # a block of its own: what sparse attention sees of it twice, and the block's one row of four maps
    sparse = 6 * (6 * weights + 2 * 2 * 4 * 64 * 64) + 2 * 2 * 14 * 32 * (2 * 12 + 2)
    assert histories.operations("sparse", corpus) == sparse
