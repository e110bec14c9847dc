"""``make test`` checks every array shape; this shows that a wrong one does not get through."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOOK = "--jaxtyping-packages=fuserec,beartype.beartype"

WRONG_SHAPE = """
import torch
from fuserec.batch import Pairs
from fuserec.losses.bpr import bpr

def test_dataclass():
    Pairs(users=torch.zeros(2, dtype=torch.int64), items=torch.zeros(3, dtype=torch.int64))

def test_function():
    bpr(torch.zeros(2), torch.zeros(2, 2))
"""


def outcome(folder: Path, *options: str) -> str:
    """The closing line of a pytest run on two tests that pass wrong shapes."""
    test = folder / "test_wrong_shape.py"
    test.write_text(WRONG_SHAPE, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        str(ROOT / "pyproject.toml"),
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [*command, f"--rootdir={folder}", *options, str(test)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


@pytest.mark.slow
def test_the_hook_catches_a_wrong_shape_in_a_worker_too(tmp_path: Path) -> None:
    told = outcome(tmp_path, HOOK, "-n", "1")
    assert "2 failed" in told
    assert told.count("TypeCheckError") >= 2


@pytest.mark.slow
def test_the_same_wrong_shapes_pass_without_the_hook(tmp_path: Path) -> None:
    assert "2 passed" in outcome(tmp_path)


def test_make_test_runs_with_the_hook() -> None:
    assert HOOK in (ROOT / "Makefile").read_text(encoding="utf-8")
