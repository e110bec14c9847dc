from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parent
MAKE: dict[str, Any] = runpy.run_path(str(FOLDER / "make.py"))


@pytest.mark.parametrize("model", MAKE["MODELS"])
def test_every_loss_of_every_step_is_what_it_was(model: str) -> None:
    golden = json.loads((FOLDER / f"{model}.json").read_text(encoding="utf-8"))["steps"]
    steps = MAKE["curve"](model)
    assert len(steps) == len(golden) == 24
    for number, (now, then) in enumerate(zip(steps, golden, strict=True), start=1):
        assert now == pytest.approx(then, rel=1e-5, abs=1e-9), f"step {number}; see tests/golden/make.py"


@pytest.mark.parametrize("model", MAKE["MODELS"])
def test_a_golden_file_says_how_and_why_it_was_made(model: str) -> None:
    golden = json.loads((FOLDER / f"{model}.json").read_text(encoding="utf-8"))
    assert golden["command"] == "python tests/golden/make.py"
    assert golden["reason"]
    assert {"torch", "cpu_capability", "threads"} <= golden["machine"].keys()


def test_training_made_progress_in_the_golden_curves() -> None:
    for model in MAKE["MODELS"]:
        steps = json.loads((FOLDER / f"{model}.json").read_text(encoding="utf-8"))["steps"]
        first, last = (sum(step["bpr"] for step in part) for part in (steps[:8], steps[-8:]))
        assert last < 0.98 * first
