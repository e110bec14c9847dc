from __future__ import annotations

import ctypes
import re
from pathlib import Path

import pytest

from fuserec import compiled
from fuserec.compiled import Library, Unit
from fuserec.errors import CompileError
from fuserec.testing.commands import RunCommand


@pytest.fixture(autouse=True)
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library that compiles at once in the place of the real one, and a cache of the test's own."""
    place = tmp_path / "toy.cpp"
    place.write_text('extern "C" __attribute__((visibility("default"))) int answer() { return 42; }\n')
    toy = Library("toy", (Unit(place),))
    monkeypatch.setattr("fuserec.ops.attention.native.library.LIBRARY", toy)
    monkeypatch.setenv("FUSEREC_CACHE", str(tmp_path / "cache"))
    return place


@pytest.fixture
def version() -> str:
    try:
        return compiled.compiler_version(compiled.find_compiler())
    except CompileError as error:
        pytest.skip(f"no compiler on this machine: {error}")


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)


def test_it_compiles_once_and_says_where_how_long_and_by_which_compiler(
    fuserec: RunCommand, version: str
) -> None:
    first = fuserec("build-native")
    assert (first.code, first.err) == (0, f"compiling toy by {version}\n")
    told = re.fullmatch(r"toy: compiled in [0-9.]+ s, (.*)\n", first.out)
    assert told
    assert ctypes.CDLL(told[1]).answer() == 42
    again = fuserec("build-native")
    assert (again.code, again.out, again.err) == (0, f"toy: compiled before, {told[1]}\n", "")


def test_json_has_the_same(fuserec: RunCommand, version: str, tmp_path: Path) -> None:
    first = fuserec("build-native", "--json")
    assert (first.code, first.err) == (0, "")
    assert {**first.json, "seconds": 0.0} == {
        "library": "toy",
        "path": first.json["path"],
        "compiler": version,
        "seconds": 0.0,
    }
    assert Path(first.json["path"]).parent == tmp_path / "cache"
    again = fuserec("build-native", "--json").json
    assert again == {**first.json, "compiler": None, "seconds": 0.0}
    assert fuserec("build-native", "--clean", "--json").json == {
        "library": "toy",
        "removed": [first.json["path"]],
    }


def test_clean_removes_it(fuserec: RunCommand, version: str, tmp_path: Path) -> None:
    fuserec("build-native")
    outcome = fuserec("build-native", "--clean")
    assert (outcome.code, outcome.out) == (0, f"toy: 1 removed from {tmp_path / 'cache'}\n")
    assert list((tmp_path / "cache").iterdir()) == []


def test_no_compiler_is_one_line_and_exit_code_1(fuserec: RunCommand, no_compiler: None) -> None:
    outcome = fuserec("build-native")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == (
        "error: expected a C++ compiler, found none of g++, c++, clang++; install one, on Debian: "
        "sudo apt-get install g++; everything works without native code, slower\n"
    )


def test_if_possible_makes_no_compiler_a_note(fuserec: RunCommand, no_compiler: None) -> None:
    outcome = fuserec("build-native", "--if-possible")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (0, "", 1)
    assert outcome.err.startswith("toy is not compiled: expected a C++ compiler, found none")
    outcome = fuserec("build-native", "--if-possible", "--json")
    assert outcome.code == 0
    assert outcome.json == {"library": "toy", "path": None, "compiler": None, "seconds": 0.0}


def test_if_possible_makes_a_failed_compilation_a_note_and_else_it_fails(
    fuserec: RunCommand, version: str, source: Path
) -> None:
    source.write_text("nonsense\n")
    outcome = fuserec("build-native", "--if-possible")
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err.count("\n") == 2
    assert re.search(
        r"\ntoy is not compiled: expected .* to succeed, got: .*toy.cpp:1:.* error: ", outcome.err
    )
    outcome = fuserec("build-native")
    assert (outcome.code, outcome.out) == (1, "")
    assert re.search(r"\nerror: expected .* to succeed, got: .*toy.cpp:1:.* error: .*nonsense", outcome.err)
