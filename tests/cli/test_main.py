from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fuserec import cli
from fuserec.errors import DataError

if TYPE_CHECKING:
    from fuserec.testing.commands import RunCommand


def break_recipes(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make the library function behind ``fuserec recipes`` fail."""

    def fail() -> None:
        raise error

    monkeypatch.setattr("fuserec.training.recipes.packaged_recipes", fail)


def test_what_is_foreseen_is_one_line_and_exit_code_1(
    fuserec: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_recipes(monkeypatch, DataError("expected this,\n got that"))
    outcome = fuserec("recipes")
    assert (outcome.code, outcome.out, outcome.err) == (1, "", "error: expected this, got that\n")


def test_ctrl_c_is_one_line_and_exit_code_130(fuserec: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    break_recipes(monkeypatch, KeyboardInterrupt())
    outcome = fuserec("recipes")
    assert outcome.code == 130
    assert outcome.err == "interrupted: nothing half-written is left behind\n"


def test_a_full_disk_is_one_line(fuserec: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    break_recipes(monkeypatch, OSError(28, "No space left on device", "runs/a"))
    outcome = fuserec("recipes")
    assert (outcome.code, outcome.err) == (1, "error: No space left on device: runs/a\n")


def test_ctrl_c_while_the_command_line_loads_is_one_line() -> None:
    code = (
        "import runpy, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "runpy.run_module('fuserec', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted: nothing was begun\n")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("unable to allocate 3 TiB"),
        RuntimeError(
            "[enforce fail at a.cpp] DefaultCPUAllocator: can't allocate memory: you tried\nframe 1"
        ),
        RuntimeError("CUDA out of memory. Tried to allocate 3 TiB\nframe 1"),
    ],
)
def test_memory_that_is_not_there_is_one_line(
    fuserec: RunCommand, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    break_recipes(monkeypatch, error)
    outcome = fuserec("recipes")
    assert (outcome.code, outcome.err.count("\n")) == (1, 1)
    assert outcome.err.startswith("error: out of memory; choose smaller sizes or a larger machine (")


def test_an_argument_that_is_not_utf_8_is_one_line(fuserec: RunCommand) -> None:
    outcome = fuserec("recommend", "run", "--user", "\udcff")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (1, "", 1)
    assert outcome.err.startswith(r"error: expected arguments in UTF-8, got '\udcff'; ")


def test_a_bug_is_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    break_recipes(monkeypatch, ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        cli.main(["recipes"])


@pytest.mark.parametrize("wrong", [["nonsense"], ["doctor", "--nonsense"], ["doctor", "more"]])
def test_wrong_use_is_exit_code_2_and_points_to_help(fuserec: RunCommand, wrong: list[str]) -> None:
    outcome = fuserec(*wrong)
    assert (outcome.code, outcome.out) == (2, "")
    assert "--help" in outcome.err


def test_a_reader_that_leaves_early_is_no_traceback() -> None:
    command = f"{sys.executable} -m fuserec doctor --json | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_version_is_told(fuserec: RunCommand) -> None:
    import fuserec as package

    assert fuserec("--version").out == f"fuserec {package.__version__}\n"


def test_threads_wait_quietly_and_large_tables_get_huge_pages_before_torch_loads() -> None:
    code = (
        "import os, sys; from fuserec.cli import main\n"
        "try: main(['recipes'])\n"
        "except SystemExit: pass\n"
        "names = ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'THP_MEM_ALLOC_ENABLE')\n"
        "print(*(os.environ[name] for name in names), 'torch' in sys.modules)"
    )
    environment = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.splitlines()[-1] == "PASSIVE 10000 1 False"


def test_a_variable_that_is_set_stays_as_it_is() -> None:
    code = "import os; from fuserec.cli import main\ntry: main(['--version'])\nexcept SystemExit: print(os.environ['OMP_WAIT_POLICY'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "OMP_WAIT_POLICY": "ACTIVE"},
    )
    assert done.stdout.splitlines()[-1] == "ACTIVE"


def test_python_dash_m_is_the_command_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fuserec", "--help"], capture_output=True, text=True, check=True, cwd=Path("/")
    )
    assert done.stdout.startswith("Usage: fuserec ")
