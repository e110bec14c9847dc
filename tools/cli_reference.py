"""Write docs/reference/cli.md from the command line itself.

    python tools/cli_reference.py           write the page
    python tools/cli_reference.py --check   exit with 1 if the page is not what it would write

It reads the signatures and docstrings of the commands, so the page depends neither on the width of a
terminal nor on how some version of typer lays out its help.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from fuserec.cli import app

__all__ = ["commands", "main", "page"]

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "cli.md"

HEAD = """# The command line

Made by `python tools/cli_reference.py` from the commands themselves; do not edit.

Data goes to stdout, progress and notes to stderr. What fuserec foresees is one line on stderr that begins with
`error:`, and exit code 1; wrong use is exit code 2; Ctrl-C is 130 and leaves nothing half-written.

`fuserec --version` tells the version, `fuserec COMMAND --help` the same as this page.
"""

VALUES = {int: "NUMBER", float: "NUMBER", str: "TEXT", Path: "PATH"}


def commands(
    group: typer.Typer, path: tuple[str, ...] = ("fuserec",)
) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The full name of every command below a group, and the function behind it."""
    for command in group.registered_commands:
        if command.callback is not None:
            yield " ".join((*path, command.name or command.callback.__name__)), command.callback
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            yield from commands(inner.typer_instance, (*path, str(inner.name)))


def page() -> str:
    """The whole page."""
    order = typer.main.get_group(app).list_commands(None)  # type: ignore[arg-type]
    found = sorted(commands(app), key=lambda one: order.index(one[0].split()[1]))
    index = [f"- [`{name}`](#{name.replace(' ', '-')}): {first_line(function)}" for name, function in found]
    return "\n".join([HEAD, *index, "", *(section(name, function) for name, function in found)])


def first_line(function: Callable[..., Any]) -> str:
    """What a command does, in one sentence."""
    return str(inspect.getdoc(function)).splitlines()[0]


def section(name: str, function: Callable[..., Any]) -> str:
    """One command: what it does, an example, its arguments and options."""
    text, _, example = str(inspect.getdoc(function)).partition("\nExample:\n")
    code = "\n".join(line.strip() for line in example.strip().splitlines())
    hints = typing.get_type_hints(function, include_extras=True)
    rows = [row(one, hints[one.name]) for one in inspect.signature(function).parameters.values()]
    table = "\n".join(["| argument or option | what |", "|---|---|", *rows]) + "\n" if rows else ""
    return f"## {name}\n\n{text.strip()}\n\n```sh\n{code}\n```\n\n{table}"


def row(parameter: inspect.Parameter, hint: Any) -> str:
    """One parameter."""
    kind, info = typing.get_args(hint)[:2]
    required = parameter.default is inspect.Parameter.empty
    notes = [str(info.help or "")]
    if type(info).__name__ == "ArgumentInfo":
        name = parameter.name.upper() + ("..." if typing.get_origin(kind) is list else "")
    else:
        # Inside Annotated, typer keeps the first declaration where it keeps a default elsewhere.
        names = [one for one in (info.default, *(info.param_decls or ())) if isinstance(one, str)]
        names = names or [f"--{parameter.name.replace('_', '-')}"]
        name = ", ".join(names) + ("" if kind is bool else f" {info.metavar or value(kind)}")
        notes += ["Required."] if required else []
    if parameter.default not in (None, False, "", inspect.Parameter.empty):
        notes.append(f"Default: {parameter.default}.")
    cells = (f"`{name}`", " ".join(note for note in notes if note))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def value(kind: Any) -> str:
    """What an option takes: its choices, or a word for its type."""
    inner = [one for one in typing.get_args(kind) if one is not type(None)]
    if inner:
        return value(inner[0])
    return "|".join(kind) if issubclass(kind, StrEnum) else VALUES[kind]


def main() -> int:
    """Write the page, or check it."""
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PAGE} is not up to date; run: python tools/cli_reference.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
