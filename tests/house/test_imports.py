from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

BARE_MACHINE = """
import importlib, pkgutil, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"polars", "pydantic", "typer", "rich", "PIL", "jaxtyping", "beartype"}:
            raise ModuleNotFoundError(f"{name} is not on this machine", name=name)

sys.meta_path.insert(0, Absent())
import fuserec.models, fuserec.training
for package in (fuserec.models, fuserec.training):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
            print(module.name)
"""


def test_imports_go_down_only() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


def test_contributing_draws_the_floors_that_are_held() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    held = pyproject["tool"]["importlinter"]["contracts"][0]["layers"]
    drawing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("```")[1]
    drawn = [re.split(r"\s{2,}", line)[0] for line in drawing.strip().splitlines()]
    assert drawn == held


def test_models_and_training_load_with_torch_numpy_and_safetensors_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BARE_MACHINE], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert {"fuserec.models.protocol", "fuserec.models.registry"} <= set(done.stdout.split())
