"""The tests of an operator, run before it is measured: nothing is told about what is wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["passed"]

ROOT = Path(__file__).resolve().parents[1]


def passed(selection: Sequence[str]) -> str:
    """Run tests in a process of their own.

    Args:
        selection: paths and options of pytest, from the root of the repository.

    Returns:
        How many passed, in pytest's words.

    Raises:
        SystemExit: a test failed, or there was none; what failed is on stderr, and nothing on stdout.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "--tb=short", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, *selection], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout, done.stderr, "the tests failed, so nothing is measured", sep="\n", file=sys.stderr)
        raise SystemExit(1)
    return done.stdout.splitlines()[-1]
