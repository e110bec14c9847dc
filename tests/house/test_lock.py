from __future__ import annotations

import re
import tomllib
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
LINES = [line for line in LOCK.replace("\\\n", " ").splitlines() if not line.startswith("#")]
CUDA = ("nvidia", "triton", "cuda")


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def torch_pin() -> str:
    (line,) = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    assert re.fullmatch(r"torch==\d+\.\d+\.\d+", line), f"expected one portable pin, got {line!r}"
    return line.removeprefix("torch==")


def test_every_line_of_the_lock_is_a_pinned_name_with_hashes() -> None:
    pinned = re.compile(r"[a-z0-9.-]+==[^ +]+( ; [^#]+?)?( +--hash=sha256:[0-9a-f]{64})+ *")
    assert len(LINES) > 40
    assert [line[:60] for line in LINES if not pinned.fullmatch(line)] == []


def test_the_lock_is_of_no_one_machine() -> None:
    assert re.findall(r"file:|https?:|--find-links|--index|--extra|\+cpu|/", LOCK) == []


def test_torch_and_cuda_are_not_in_the_lock() -> None:
    names = [line.split("==")[0] for line in LINES]
    assert [name for name in names if name == "torch" or name.startswith(CUDA)] == []


def test_the_lock_holds_what_pyproject_asks_for(pyproject: dict[str, Any]) -> None:
    project = pyproject["project"]
    asked = [*project["dependencies"], *pyproject["build-system"]["requires"]]
    for extra in project["optional-dependencies"].values():
        asked += extra
    locked: dict[str, set[str]] = {}
    for line in LINES:
        name, _, rest = line.partition("==")
        locked.setdefault(name, set()).add(rest.split()[0])
    for requirement in map(Requirement, asked):
        if requirement.name != "torch":
            assert requirement.name in locked, f"{requirement} is not in the lock: make lock"
            assert all(requirement.specifier.contains(found) for found in locked[requirement.name])


def test_every_runtime_dependency_has_a_floor_that_make_floors_holds(pyproject: dict[str, Any]) -> None:
    for dependency in pyproject["project"]["dependencies"]:
        assert re.fullmatch(r"[a-z]+>=[0-9.]+", dependency), dependency


def test_what_the_lock_believes_of_torch_is_what_the_installed_torch_says(
    pyproject: dict[str, Any], torch_pin: str
) -> None:
    (believed,) = (
        entry for entry in pyproject["tool"]["uv"]["dependency-metadata"] if entry["name"] == "torch"
    )
    assert believed["version"] == torch_pin
    if version("torch").split("+")[0] != torch_pin:
        pytest.skip(f"torch {version('torch')} is installed, the pin is {torch_pin}")
    needed = {
        requirement.name.lower()
        for requirement in map(Requirement, requires("torch") or ())
        if "extra" not in str(requirement.marker or "") and not requirement.name.startswith(CUDA)
    }
    assert {Requirement(entry).name for entry in believed["requires-dist"]} == needed
