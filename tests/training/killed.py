"""Train in processes that die where they are told to; started by test_resume.py, one job a line on stdin.

A job is {"recipe", "out", "die", "options"}. Each is trained in a fork of this process, which has not computed
anything in parallel yet, so torch is loaded once. ``die`` says where SIGKILL comes: {"step": n} at the n-th step,
{"replace": n} before the n-th renaming, {"replaced": n} after it, {"write": n} with half of the n-th file written;
counted from 1. The answer is the exit status (negative: the signal) and what the process wrote to stderr.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fuserec.errors import FuserecError
from fuserec.training.config import load_recipe
from fuserec.training.prepared import load_prepared
from fuserec.training.progress import Lines
from fuserec.training.run import train


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Doomed(Lines):
    """Dies at a step."""

    def __init__(self, steps: int | None) -> None:
        super().__init__()
        self.steps = steps

    def step(self, advance: int = 1, **figures: float) -> None:
        if self.steps is not None:
            self.steps -= 1
            if self.steps == 0:
                die()


def doomed(function: Callable[..., Any], *, before: int | None = None, after: int | None = None) -> Any:
    """The function, dying before or after its n-th call."""
    calls = 0

    def call(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == before:
            die()
        value = function(*arguments)
        if calls == after:
            die()
        return value

    return call


def half_written(number: int) -> Any:
    """os.fsync, but at its n-th call half of the file is lost and the process dies."""
    calls = 0

    def fsync(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            os.ftruncate(handle, os.fstat(handle).st_size // 2)
            die()

    return fsync


def attempt(job: dict[str, Any], prepared: Path) -> int:
    """One training, in a process of its own."""
    where = job["die"]
    torch.set_num_threads(job.get("threads", 1))
    os.replace = doomed(os.replace, before=where.get("replace"), after=where.get("replaced"))
    if "write" in where:
        os.fsync = half_written(where["write"])
    try:
        train(
            load_recipe(Path(job["recipe"]), job.get("set", [])),
            load_prepared(prepared),
            Path(job["out"]),
            progress=Doomed(where.get("step")),
            **job["options"],
        )
    except FuserecError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def load_what_torch_loads_late() -> None:
    """The first step of an optimiser imports much of torch; here, once, and not in every fork."""
    weight = torch.zeros(1, requires_grad=True)
    weight.grad = torch.ones(1)
    torch.optim.Adam([weight], fused=True).step()


def main() -> None:
    prepared = Path(sys.argv[1])
    load_what_torch_loads_late()
    for line in sys.stdin:
        with tempfile.TemporaryFile("w+") as told:
            child = os.fork()
            if child == 0:
                os.dup2(told.fileno(), 2)
                status = attempt(json.loads(line), prepared)
                sys.stderr.flush()
                os._exit(status)
            _, status = os.waitpid(child, 0)
            told.seek(0)
            answer = {"code": os.waitstatus_to_exitcode(status), "err": told.read()}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
