"""Native code: C++ sources with a plain C interface become one shared library in the user's cache.

A library's file name carries all that it was made from, so none is ever out of date:

    NAME-SOURCES-PROCESSOR-COMPILER.so

    SOURCES    hash of every source and header, by name and content, and of the flags
    PROCESSOR  hash of the architecture and the instruction sets that the system names: machines may share a cache
    COMPILER   hash of the place, size and time of its program, and of the arguments that go with it

It is compiled in a folder beside its place and renamed once it has been loaded on trial: what a killed process leaves
is never taken for a library, and of two processes that compile the same the later one replaces a file by its equal.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fuserec.errors import CompileError

__all__ = [
    "FLAGS",
    "Compiler",
    "Library",
    "Unit",
    "build",
    "built",
    "cache_folder",
    "clean",
    "compiler_version",
    "find_compiler",
    "place",
]

FLAGS = ("-O3", "-fPIC", "-std=c++17", "-fvisibility=hidden", "-pthread")
"""For every unit, before its own."""

_COMPILERS = ("g++", "c++", "clang++")
_HASH = "[0-9a-f]{16}"
_TRIAL = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"
_SLOWER = "everything works without native code, slower"


@dataclass(frozen=True, slots=True)
class Unit:
    """One translation unit; a source may be in several, for several instruction sets.

    Attributes:
        source: the C++ file.
        flags: of the compiler, after `FLAGS`.
    """

    source: Path
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Library:
    """What one shared library is made from.

    Attributes:
        name: of the library, letters and underscores.
        units: what is compiled and linked.
        headers: further files that the sources include.
    """

    name: str
    units: tuple[Unit, ...]
    headers: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Compiler:
    """A C++ compiler.

    Attributes:
        command: the program and arguments that always go with it.
        key: hash by which its libraries are known.
    """

    command: tuple[str, ...]
    key: str


def built(library: Library) -> Path | None:
    """The compiled library for these sources and this processor; None where there is none.

    The one that today's compiler made comes first, then the newest of any other: sources and flags are the same, so
    a compiler that was upgraded or removed does not take the fast form away. `build` compiles for the new one.
    No process is started, and nothing is loaded.
    """
    try:
        folder = cache_folder()
    except CompileError:
        return None
    found = [
        path for path in _files(folder, f"{re.escape(_stem(library))}-{_HASH}.so") if not _cut_short(path)
    ]
    try:
        own = place(library, find_compiler())
    except CompileError:
        own = None
    return own if own in found else max(found, key=lambda path: path.stat().st_mtime, default=None)


def build(library: Library, *, tell: Callable[[str], None] = lambda compiler: None) -> Path:  # noqa: ARG005
    """Compile a library by `find_compiler`, unless it has been; without a compiler, what another one made has to do.

    One that was compiled and does not load, as after damage to the disk, is compiled again.

    Args:
        library: what to compile.
        tell: given the compiler's name and version, once, before it begins.

    Returns:
        The compiled file.

    Raises:
        CompileError: there is no compiler, it failed, what it made does not load, a source changed meanwhile, or the
            cache cannot be written.
    """
    found = built(library)
    if found is not None and _why_not_loaded(found) is not None:
        found = None
    try:
        compiler = find_compiler()
    except CompileError:
        if found is None:
            raise
        return found
    target = place(library, compiler)
    if found == target:
        return target
    with _stage(target.parent, library.name) as stage:
        tell(compiler_version(compiler))
        objects = [stage / f"{number}.o" for number in range(len(library.units))]
        commands = [
            [*compiler.command, *FLAGS, *unit.flags, "-c", str(unit.source), "-o", str(made)]
            for unit, made in zip(library.units, objects, strict=True)
        ]
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
            list(workers.map(_run, commands))
        whole = stage / target.name
        _run([*compiler.command, "-shared", "-pthread", *map(str, objects), "-o", str(whole)])
        why = _why_not_loaded(whole)
        if why is not None:
            raise CompileError(
                f"expected {library.name} to load once compiled, got {why}; {_SLOWER}; where programs may not run in "
                f"{target.parent}, set FUSEREC_CACHE to another folder"
            )
        if place(library, compiler) != target:
            raise CompileError(
                f"expected the sources of {library.name} to stay as they are, but they changed; try again"
            )
        with whole.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(whole, target)
    return target


def clean(library: Library) -> list[Path]:
    """Remove all that was ever compiled of a library, and what killed processes left of it.

    Returns:
        The libraries that were there.

    Raises:
        CompileError: one cannot be removed, or there is no cache folder.
    """
    folder = cache_folder()
    try:
        for stage in _files(folder, re.escape(f".{library.name}.partial-") + "[a-z0-9_]{8}"):
            shutil.rmtree(stage)
        found = _files(folder, f"{re.escape(library.name)}-{_HASH}-{_HASH}-{_HASH}.so")
        for path in found:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return found


def place(library: Library, compiler: Compiler) -> Path:
    """Where the library that this compiler makes stands, once it is compiled.

    Raises:
        CompileError: there is no cache folder.
    """
    return cache_folder() / f"{_stem(library)}-{compiler.key}.so"


def cache_folder() -> Path:
    """``$FUSEREC_CACHE``, or else fuserec's folder in the user's cache; it need not exist.

    Raises:
        CompileError: neither variable is set and the user has no home.
    """
    if chosen := os.environ.get("FUSEREC_CACHE"):
        return Path(chosen).absolute()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if shared.is_absolute():  # as its specification wants it; another is to be ignored
        return shared / "fuserec"
    try:
        return Path.home() / ".cache" / "fuserec"
    except RuntimeError as error:
        raise CompileError(
            f"expected a home folder for compiled code, got none; set FUSEREC_CACHE to a folder; {_SLOWER}"
        ) from error


def find_compiler() -> Compiler:
    """The compiler that ``$CXX`` names, arguments included; or else the first of g++, c++ and clang++.

    Raises:
        CompileError: there is none.
    """
    chosen = os.environ.get("CXX", "").strip()
    if chosen:
        try:
            command = tuple(shlex.split(chosen))
        except ValueError as error:
            raise CompileError(f"expected a command in CXX, got {chosen!r}: {error}; unset it") from error
        if shutil.which(command[0]) is None:
            raise CompileError(
                f"expected a compiler in CXX, but there is no program {command[0]!r}; unset it or correct it; {_SLOWER}"
            )
        return Compiler(command, _compiler_key(command))
    for name in _COMPILERS:
        if shutil.which(name):
            return Compiler((name,), _compiler_key((name,)))
    raise CompileError(
        f"expected a C++ compiler, found none of {', '.join(_COMPILERS)}; install one, on Debian: sudo apt-get "
        f"install g++; {_SLOWER}"
    )


def compiler_version(compiler: Compiler) -> str:
    """What the compiler says that it is, in one line.

    Raises:
        CompileError: it does not run.
    """
    return _run([*compiler.command, "--version"]).partition("\n")[0]


def _stem(library: Library) -> str:
    units = [(unit.source.name, _content(unit.source), unit.flags) for unit in library.units]
    headers = [(header.name, _content(header)) for header in library.headers]
    return f"{library.name}-{_key([FLAGS, units, headers])}-{_processor_key()}"


def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _compiler_key(command: tuple[str, ...]) -> str:
    """Known by its programs' files, since asking it for its version would start a process at every use."""
    parts: list[object] = []
    for word in command:  # CXX="ccache g++" is two programs, CXX="g++ -m64" a program and an argument
        if found := shutil.which(word):
            path = Path(found).resolve()
            parts += [str(path), path.stat().st_size, path.stat().st_mtime_ns]
        else:
            parts.append(word)
    return _key(parts)


@cache
def _processor_key() -> str:
    return _key([platform.machine(), _instruction_sets()])


def _instruction_sets() -> list[str]:
    """As Linux names them, sorted; elsewhere none, the architecture has to do."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, sets = line.partition(":")
                if name.strip() in {"flags", "Features"}:
                    return sorted(set(sets.split()))
    except OSError:
        pass  # not Linux
    return []


def _key(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _files(folder: Path, pattern: str) -> list[Path]:
    """What is in a folder, which need not be there, under a name that fits the pattern as a whole."""
    try:
        return [path for path in folder.iterdir() if re.fullmatch(pattern, path.name)]
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _cut_short(path: Path) -> bool:
    """An ELF file of 64 bits that ends before its own table of sections: to load it would kill the process."""
    try:
        with path.open("rb") as file:
            header, size = file.read(64), os.fstat(file.fileno()).st_size
    except OSError:
        return False  # loading says why
    if header[:6] != b"\x7fELF\x02\x01":
        return False
    if len(header) < 64:
        return True
    begin, entry, entries = (
        int.from_bytes(header[at : at + width], "little") for at, width in ((40, 8), (58, 2), (60, 2))
    )
    return size < begin + entry * entries


@contextmanager
def _stage(folder: Path, name: str) -> Iterator[Path]:
    """A folder to compile in, on the disk of the cache so that its library can be renamed into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}.partial-", dir=folder) as stage:
            yield Path(stage)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> CompileError:
    return CompileError(
        f"cannot write compiled code in {folder}: {error.strerror or error}; set FUSEREC_CACHE (or XDG_CACHE_HOME) to "
        f"a folder that you can write to; {_SLOWER}"
    )


def _run(command: list[str]) -> str:
    """What a program says on stdout.

    Raises:
        CompileError: it does not start, or fails.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C"},  # the word "error" is searched for
        )
    except OSError as error:
        raise CompileError(
            f"expected {command[0]} to run, got: {error.strerror or error}; set CXX to another compiler; {_SLOWER}"
        ) from error
    if done.returncode:
        raise CompileError(
            f"expected {command[0]} to succeed, got: {_first_error(done)}; CXX chooses another compiler; {_SLOWER}"
        )
    return done.stdout


def _first_error(done: subprocess.CompletedProcess[str]) -> str:
    """The line that says what went wrong; a linker says so in its first, and then that it ended with an error."""
    told = _lines(done)
    return next((line for line in told if "error: " in line and not line.startswith("collect2")), told[0])


def _lines(done: subprocess.CompletedProcess[str]) -> Sequence[str]:
    """What a program that failed said on stderr, at least one line."""
    told = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return told or [f"exit status {done.returncode}"]


def _why_not_loaded(path: Path) -> str | None:
    """What a fresh Python says that loads the library: a broken one may end the process that tries."""
    trial = [sys.executable, "-I", "-S", "-c", _TRIAL, str(path)]
    done = subprocess.run(trial, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    return _lines(done)[-1] if done.returncode else None
