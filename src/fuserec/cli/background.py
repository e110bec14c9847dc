"""Work that outlives the terminal."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fuserec.cli import terminal

__all__ = ["start_sweep"]


def start_sweep(
    recipes: Sequence[str], options: Mapping[str, object], *, runs: Path, trainings: int, json: bool
) -> None:
    """Start ``fuserec sweep`` in a session of its own, and say how to look at it and how to stop it.

    Args:
        recipes: of the sweep.
        options: of the sweep, by name; a list is an option given several times, None and False are none.
        runs: the folder of the run folders; the log is beside it.
        trainings: how many there are to do.
        json: print one JSON document instead of lines for people.
    """
    runs = runs.absolute()
    log = runs.parent / f"{runs.name}.sweep.log"
    command = [sys.executable, "-m", "fuserec", "sweep", *recipes, *_arguments(options)]
    with log.open("ab") as file:
        started = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    if json:
        terminal.print_json({"pid": started.pid, "log": str(log), "missing": trainings})
        return
    terminal.note(f"process {started.pid} has {trainings} to do")
    terminal.note(f"look:  tail -f {shlex.quote(str(log))}")
    terminal.note(f"stop:  kill {started.pid}    the same command goes on from there")


def _arguments(options: Mapping[str, object]) -> Iterator[str]:
    for name, value in options.items():
        for one in value if isinstance(value, list) else [value]:
            if one is True:
                yield f"--{name}"
            elif one is not None and one is not False:
                yield f"--{name}={one}"
