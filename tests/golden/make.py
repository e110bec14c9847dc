"""Make the golden loss curves again: ``python tests/golden/make.py``.

A curve is every loss of every step of a short training on the tiny corpus that the tests make themselves. It
changes only when the arithmetic does. Whoever makes the files again says why in the commit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fuserec.files import write_text
from fuserec.testing.corpora import tiny_prepared
from fuserec.training.config import load_recipe
from fuserec.training.progress import Silent
from fuserec.training.provenance import machine
from fuserec.training.run import fit

FOLDER = Path(__file__).resolve().parent
MODELS = ("lightgcn", "tmfun")


class Curve(Silent):
    """The losses of every step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def step(self, advance: int = 1, **figures: float) -> None:
        self.steps.append(figures)


def curve(model: str) -> list[dict[str, float]]:
    """3 epochs of 8 steps each."""
    watcher = Curve()
    fit(load_recipe(FOLDER / f"{model}.toml"), tiny_prepared(ready_graph=("image",)), progress=watcher)
    return watcher.steps


def main() -> None:
    """Write a file for each model."""
    for model in MODELS:
        content: dict[str, Any] = {
            "command": "python tests/golden/make.py",
            "reason": "every loss of every step, so that a refactoring that moves a number is seen",
            "tolerance": "1e-5 relative: another instruction set rounds otherwise",
            "machine": machine(),
            "steps": curve(model),
        }
        write_text(FOLDER / f"{model}.json", json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
