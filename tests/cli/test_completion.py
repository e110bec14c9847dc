"""Shells complete commands and options; the protocol between shell and program is typer's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-m", "fuserec"]


def completed(**asked: str) -> list[str]:
    """What the program answers a shell that asks by these variables."""
    environment = {**os.environ, **asked}
    done = subprocess.run(PROGRAM, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("shell", "told"),
    [
        ("bash", "complete -o default -F _fuserec_completion fuserec"),
        ("zsh", "compdef _fuserec_completion fuserec"),
        ("fish", "complete --command fuserec"),
    ],
)
def test_the_script_of_each_shell_is_printed(shell: str, told: str) -> None:
    assert any(line.startswith(told) for line in completed(_FUSEREC_COMPLETE=f"source_{shell}"))


@pytest.mark.parametrize(
    ("words", "place", "found"),
    [
        ("fuserec da", "1", {"data"}),
        ("fuserec re", "1", {"recipes", "recommend"}),
        ("fuserec data b", "2", {"build"}),
        ("fuserec recommend --cat", "2", {"--category"}),
    ],
)
def test_words_are_completed(words: str, place: str, found: set[str]) -> None:
    answer = completed(_FUSEREC_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=place)
    assert set(answer) == found


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_itself_completes_after_the_line_of_the_page() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "install.md"
    line = 'eval "$(_FUSEREC_COMPLETE=source_bash fuserec)"'
    assert line in page.read_text(encoding="utf-8")
    script = (
        f"{line}; COMP_WORDS=(fuserec da); COMP_CWORD=1; _fuserec_completion fuserec; echo ${{COMPREPLY[@]}}"
    )
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "data\n", "")


def test_completing_loads_nothing_heavy() -> None:
    code = (
        "import sys, runpy\n"
        "try: runpy.run_module('fuserec', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'polars', 'numpy'} & sys.modules.keys()))"
    )
    asked = {"_FUSEREC_COMPLETE": "complete_bash", "COMP_WORDS": "fuserec da", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, text=True, check=False
    )
    assert done.stdout == "data\n[]\n"
