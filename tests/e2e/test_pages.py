"""The pages run: every command of the tutorial, then every block of the Python page, in one place."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from fuserec.testing.commands import RunCommand

DOCS = Path(__file__).resolve().parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S)


def test_the_tutorial_and_the_python_page_run_as_they_stand(
    fuserec: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = "".join(blocks("tutorial/first-steps.md", "sh")).splitlines()
    assert len(commands) >= 10
    for command in commands:
        name, *arguments = shlex.split(command)
        assert name == "fuserec"
        outcome = fuserec(*arguments)
        assert outcome.code == 0, f"{command}: {outcome.err}"
    namespace: dict[str, object] = {}
    for block in blocks("reference/python.md", "python"):
        exec(compile(block, "python.md", "exec"), namespace)
    assert "got 1 unknown: 'nobody'" in capsys.readouterr().out
