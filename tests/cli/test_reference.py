from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import typer

from fuserec.cli import app
from fuserec.testing.commands import RunCommand

REPOSITORY = Path(__file__).resolve().parents[2]
COMMANDS = [
    "demo",
    "data build",
    "data check",
    "data show",
    "data lint",
    "data sample",
    "data append",
    "data shuffle",
    "data fetch",
    "data import-mmrec",
    "data export",
    "features make",
    "features audit",
    "features impute",
    "recipes",
    "config show",
    "train",
    "evaluate",
    "fold-in",
    "compare",
    "sweep",
    "recommend",
    "similar",
    "items add",
    "doctor",
    "build-native",
]
"""What people and scripts rely on: changing a name breaks them."""


def functions(group: typer.Typer) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = [(str(one.name), one.callback) for one in group.registered_commands]
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        found += [(f"{inner.name} {name}", callback) for name, callback in functions(inner.typer_instance)]
    return found


def test_the_commands_are_exactly_these() -> None:
    assert sorted(name for name, _ in functions(app)) == sorted(COMMANDS)


def test_help_lists_commands_as_a_newcomer_meets_them(fuserec: RunCommand) -> None:
    listed = fuserec("--help").out.partition("Commands:\n")[2].partition("\n\n")[0]
    names = [line.split()[0] for line in listed.splitlines()]
    assert names == list(dict.fromkeys(name.split()[0] for name in COMMANDS))
    assert "..." not in listed


def test_every_command_has_help_with_an_example_that_keeps_its_lines(fuserec: RunCommand) -> None:
    for name in COMMANDS:
        outcome = fuserec(*name.split(), "--help")
        assert outcome.code == 0
        assert f"\n  Example:\n    fuserec {name}" in outcome.out


def test_every_option_has_help(fuserec: RunCommand) -> None:
    for name in COMMANDS:
        lines = fuserec(*name.split(), "--help").out.partition("Options:\n")[2].splitlines()
        for line, following in zip(lines, [*lines[1:], ""], strict=True):
            if line.lstrip().startswith("-"):
                assert "  " in line.strip() or following.startswith("     "), f"{name}: {line}"


def test_the_body_of_every_command_is_short() -> None:
    for name, function in functions(app):
        assert callable(function)
        source = inspect.getsource(function)
        body = source.rpartition('"""')[2].strip().splitlines()
        assert len(body) <= 40, name


def test_the_reference_page_is_up_to_date() -> None:
    script = [sys.executable, str(REPOSITORY / "tools" / "cli_reference.py"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_reference_check_can_fail(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    script = tmp_path / "tools" / "cli_reference.py"
    script.write_bytes((REPOSITORY / "tools" / "cli_reference.py").read_bytes())
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is not up to date" in done.stderr


def test_every_command_is_on_the_reference_page() -> None:
    page = (REPOSITORY / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"## fuserec {name}\n" in page
