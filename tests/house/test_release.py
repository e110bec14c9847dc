"""What a release needs: one version, a licence, and a wheel that works outside the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_changelog_package_and_metadata_tell_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.findall(r"^## \[(\d[^\]]*)\] - \d{4}-\d{2}-\d{2}$", changelog, flags=re.MULTILINE)[0]
    assert newest == project["version"] == version("fuserec")


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License\n                           Version 2.0, January 2004" in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == "Apache-2.0"
    assert "Apache License, Version 2.0" in (ROOT / "NOTICE").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-cache-dir",
        "-w",
        str(folder),
        str(ROOT),
    ]
    subprocess.run([sys.executable, "-m", "pip", *build], check=True, capture_output=True)
    (built,) = folder.glob("fuserec-*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_the_package_its_types_its_recipes_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    source = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "fuserec").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    recipes = {f"fuserec/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "recipes").rglob("*.toml")}
    assert "fuserec/py.typed" in names
    assert names == source | recipes


@pytest.mark.slow
def test_the_wheel_runs_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    venv.create(place, with_pip=False, symlinks=True)
    python = place / "bin" / "python"
    (site,) = (place / "lib").glob("python3*/site-packages")
    # The dependencies of this environment, but not the editable fuserec in it: that one comes by a .pth
    # file, which is not read in a folder that is itself named in a .pth file.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    install = ["--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, capture_output=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run(str(python), "-c", "import fuserec; print(fuserec.__file__)").startswith(str(site))
    assert "Usage: fuserec" in run(str(place / "bin" / "fuserec"), "--help")
    listed = run(str(place / "bin" / "fuserec"), "recipes").split()
    assert set(listed) == {
        path.relative_to(ROOT / "recipes").with_suffix("").as_posix()
        for path in (ROOT / "recipes").rglob("*.toml")
    }
