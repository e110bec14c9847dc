"""Hold the lower bounds of pyproject.toml: the core runs and passes its tests on the oldest versions.

Makes .venv-floors with every runtime dependency at its lower bound and nothing else, so it also shows that
fuserec runs without development packages (no jaxtyping, no beartype). Only then come the packages that the
tests need. torch is the pinned one: its floor, 2.6.0, exists on PyPI as a CUDA build of several GB only;
``--torch 2.6.0`` measures it all the same.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import make_venv

__all__ = ["floors", "main"]

RUNS_ALONE = (["--help"], ["--version"], ["doctor"], ["recipes"])
FOR_TESTS = ("pytest", "pytest-xdist", "hypothesis", "ir-measures")
CORE = ("ops", "losses", "metrics", "models", "data", "content/pictures", "features", "training", "index")
IMPORT_ALL = """
import importlib, pkgutil, sys, fuserec
for module in pkgutil.walk_packages(fuserec.__path__, "fuserec."):
    if module.name.split(".")[1] not in {"testing", "__main__"}:
        importlib.import_module(module.name)
assert not {"jaxtyping", "beartype", "hypothesis"} & set(sys.modules)
"""


def floors(project: dict[str, object]) -> list[str]:
    """Every runtime dependency but torch at its lower bound.

    Example:
        >>> floors({"dependencies": ["torch>=2.6", "rich>=13.7"]})
        ['rich==13.7']
    """
    dependencies = project["dependencies"]
    assert isinstance(dependencies, list)
    pairs = [dependency.split(">=") for dependency in dependencies]
    return [f"{name}=={lowest}" for name, lowest in pairs if name != "torch"]


def main() -> None:
    """Make the environment and run the core in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--torch", help="a version of torch in place of the pinned one")
    version = parser.parse_args().torch
    root = Path(__file__).resolve().parents[1]
    torch = [f"torch=={version}"] if version else ["-c", str(root / make_venv.CONSTRAINTS), "torch"]
    with (root / make_venv.PROJECT).open("rb") as file:
        lowest = floors(tomllib.load(file)["project"])

    place = root / ".venv-floors"
    shutil.rmtree(place, ignore_errors=True)
    python = make_venv.create(place)
    print("the floors: " + " ".join(lowest), flush=True)
    make_venv.pip(python, "install", "-q", "--only-binary=:all:", *lowest, *torch)
    with tempfile.TemporaryDirectory() as folder:
        build = ["wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, str(root)]
        make_venv.pip(Path(sys.executable), *build)
        make_venv.pip(python, "install", "-q", "--no-deps", *map(str, Path(folder).glob("*.whl")))
    make_venv.pip(python, "check")
    run([str(python), "-c", IMPORT_ALL])
    for arguments in RUNS_ALONE:
        run([str(python.parent / "fuserec"), *arguments])

    make_venv.pip(python, "install", "-q", "--only-binary=:all:", *FOR_TESTS, *lowest)
    tests = [str(root / "tests" / name) for name in CORE if (root / "tests" / name).is_dir()]
    # Warnings of old versions about still older ones are not ours to mend.
    options = ["-q", "-n", "2", "-p", "no:cacheprovider", "--hypothesis-profile=ci", "-W", "default"]
    options += ["--disable-warnings", "-m", "not slow and not real and not gpu"]
    run([str(python), "-m", "pytest", *options, *tests])


def run(command: list[str]) -> None:
    """Run a command; end when it fails."""
    print("$ " + " ".join(command[:2] + command[3:] if command[1] == "-c" else command), flush=True)
    if subprocess.run(command, stdin=subprocess.DEVNULL).returncode:
        make_venv.stop("the floors in pyproject.toml do not hold, see the message above")


if __name__ == "__main__":
    main()
