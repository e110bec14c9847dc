from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fuserec import compiled
from fuserec.compiled import Library, Unit, build, built, clean
from fuserec.errors import CompileError

ANSWER = '#include "toy.h"\nextern "C" VISIBLE int NAME() { return ANSWER; }\n'
HEADER = '#ifndef ANSWER\n#define ANSWER 42\n#endif\n#define VISIBLE __attribute__((visibility("default")))\n'
SLEEPER = f"""#!{sys.executable}
import pathlib, time
pathlib.Path(__file__ + ".started").touch()
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    place = tmp_path / "cache"
    monkeypatch.setenv("FUSEREC_CACHE", str(place))
    return place


@pytest.fixture
def toy(tmp_path: Path) -> Library:
    """One source in two units, and a header."""
    source, header = tmp_path / "toy.cpp", tmp_path / "toy.h"
    source.write_text(ANSWER)
    header.write_text(HEADER)
    units = (Unit(source, ("-DNAME=first",)), Unit(source, ("-DNAME=second", "-DANSWER=7")))
    return Library("toy", units, (header,))


@pytest.fixture
def compiler() -> compiled.Compiler:
    """The machine's; what needs none runs without."""
    try:
        return compiled.find_compiler()
    except CompileError as error:
        pytest.skip(f"no compiler on this machine: {error}")


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)


def answers(path: Path) -> tuple[int, int]:
    library = ctypes.CDLL(str(path))
    return library.first(), library.second()


def change(path: Path) -> None:
    path.write_text(path.read_text() + "\n")


def what_is_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_what_is_compiled_is_found_and_can_be_called(
    toy: Library, compiler: compiled.Compiler, cache: Path
) -> None:
    assert built(toy) is None
    told: list[str] = []
    path = build(toy, tell=told.append)
    assert told == [compiled.compiler_version(compiler)]
    assert built(toy) == path == compiled.place(toy, compiler)
    assert answers(path) == (42, 7)
    assert what_is_in(cache) == [path.name]


def test_what_is_there_is_not_compiled_again(toy: Library, compiler: compiled.Compiler) -> None:
    path = build(toy)
    made = path.stat()
    told: list[str] = []
    assert build(toy, tell=told.append) == path
    assert told == []
    assert path.stat().st_ino == made.st_ino


def test_names_that_are_not_made_visible_stay_inside(
    toy: Library, compiler: compiled.Compiler, tmp_path: Path
) -> None:
    (tmp_path / "toy.cpp").write_text('extern "C" int NAME() { return 1; }\n')
    library = ctypes.CDLL(str(build(toy)))
    with pytest.raises(AttributeError, match="first"):
        library.first  # noqa: B018


@pytest.mark.parametrize("changed", ["source", "header", "flags", "flags of all", "processor"])
def test_a_change_of_what_it_is_made_from_gives_another_place(
    toy: Library, changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = compiled.Compiler(("c++",), "0" * 16)
    before = compiled.place(toy, compiler)
    assert compiled.place(toy, compiler) == before
    match changed:
        case "source":
            change(tmp_path / "toy.cpp")
        case "header":
            change(tmp_path / "toy.h")
        case "flags":
            toy = replace(toy, units=(replace(toy.units[0], flags=("-DNAME=other",)), *toy.units[1:]))
        case "flags of all":
            monkeypatch.setattr(compiled, "FLAGS", (*compiled.FLAGS, "-g"))
        case _:
            monkeypatch.setattr(compiled, "_processor_key", lambda: "f" * 16)
    assert compiled.place(toy, compiler) != before


def test_where_the_sources_stand_does_not_matter(toy: Library, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("toy.cpp", "toy.h"):
        shutil.copy(tmp_path / name, moved)
    again = Library(
        "toy", tuple(replace(unit, source=moved / "toy.cpp") for unit in toy.units), (moved / "toy.h",)
    )
    compiler = compiled.Compiler(("c++",), "0" * 16)
    assert compiled.place(again, compiler) == compiled.place(toy, compiler)


def test_a_source_that_changed_is_not_built_until_it_is_compiled_again(
    toy: Library, compiler: compiled.Compiler, tmp_path: Path
) -> None:
    old = build(toy)
    (tmp_path / "toy.h").write_text(HEADER.replace("42", "43"))
    assert built(toy) is None
    new = build(toy)
    assert new != old
    assert answers(new) == (43, 7)
    assert old.exists()


def test_a_source_that_changes_while_it_is_compiled_is_refused(
    toy: Library, compiler: compiled.Compiler, cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        CompileError, match="expected the sources of toy to stay as they are, but they changed"
    ):
        build(toy, tell=lambda compiler: change(tmp_path / "toy.cpp"))
    assert what_is_in(cache) == []


def stand_in(folder: Path, key: str, toy: Library) -> Path:
    """A library as another compiler would leave it; `built` loads none."""
    path = compiled.place(toy, compiled.Compiler(("other",), key))
    folder.mkdir(exist_ok=True)
    path.write_text(key)
    return path


def test_the_library_of_a_compiler_that_is_gone_still_serves(
    toy: Library, cache: Path, no_compiler: None
) -> None:
    older = stand_in(cache, "a" * 16, toy)
    newer = stand_in(cache, "b" * 16, toy)
    os.utime(older, (1, 1))
    assert built(toy) == newer


def test_without_a_compiler_what_was_compiled_serves_if_it_loads(
    toy: Library, compiler: compiled.Compiler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = build(toy)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert build(toy) == path
    path.write_text("garbage")
    with pytest.raises(CompileError, match=r"^expected a C\+\+ compiler, found none"):
        build(toy)


def test_todays_compiler_comes_first_and_compiles_its_own(toy: Library, compiler: compiled.Compiler) -> None:
    own = build(toy)
    other = stand_in(own.parent, "a" * 16, toy)
    os.utime(own, (1, 1))
    assert built(toy) == own
    own.unlink()
    assert built(toy) == other
    assert build(toy) == own


def test_a_compiler_is_known_by_its_file_and_its_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "cxx"
    keys = []
    for text, arguments in (("#!/bin/sh\n", ""), ("#!/bin/sh\n", " -m64"), ("#!/bin/sh\n# new\n", "")):
        program.write_text(text)
        program.chmod(0o755)
        monkeypatch.setenv("CXX", f"{program}{arguments}")
        keys.append(compiled.find_compiler().key)
    assert len(set(keys)) == 3


def test_a_source_that_does_not_compile_is_one_line_and_leaves_nothing(
    toy: Library, compiler: compiled.Compiler, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "toy.cpp").write_text("int first() {\n  return nonsense;\n}\n")
    with pytest.raises(
        CompileError, match=r"to succeed, got: .*toy.cpp:2:.* error: .*nonsense.*; CXX"
    ) as error:
        build(toy)
    assert "\n" not in str(error.value)
    assert what_is_in(cache) == []


def test_units_that_do_not_link_are_told_by_the_name_that_clashes(
    toy: Library, compiler: compiled.Compiler, cache: Path
) -> None:
    twice = replace(toy, units=(toy.units[0], toy.units[0]))
    with pytest.raises(CompileError, match="first"):
        build(twice)
    assert what_is_in(cache) == []


def test_what_does_not_load_does_not_stay(
    toy: Library, compiler: compiled.Compiler, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "toy.cpp").write_text('int absent();\nextern "C" int NAME() { return absent(); }\n')
    with pytest.raises(
        CompileError, match=r"expected toy to load once compiled, got OSError: .*absent.*FUSEREC_CACHE"
    ):
        build(toy)
    assert what_is_in(cache) == []


def test_what_ends_its_process_on_loading_does_not_end_ours(
    toy: Library, compiler: compiled.Compiler, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "toy.cpp").write_text("#include <csignal>\nstatic int died = raise(SIGKILL);\n")
    with pytest.raises(CompileError, match="got exit status -9;"):
        build(toy)
    assert what_is_in(cache) == []


def test_no_compiler_says_what_to_install(toy: Library, no_compiler: None) -> None:
    with pytest.raises(
        CompileError,
        match=r"^expected a C\+\+ compiler, found none of g\+\+, c\+\+, clang\+\+; install one, on Debian: "
        r"sudo apt-get install g\+\+; everything works without native code, slower$",
    ):
        build(toy)
    assert built(toy) is None


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ("no-such-program -O1", "expected a compiler in CXX, but there is no program 'no-such-program'"),
        ("g++ '", 'expected a command in CXX, got "g.. \'": No closing quotation; unset it'),
        ("''", "there is no program ''"),
    ],
)
def test_a_wrong_cxx_is_refused_and_no_other_compiler_is_taken(
    toy: Library, monkeypatch: pytest.MonkeyPatch, chosen: str, told: str
) -> None:
    monkeypatch.setenv("CXX", chosen)
    with pytest.raises(CompileError, match=told):
        build(toy)
    assert built(toy) is None


def test_a_compiler_that_cannot_run_is_one_line(
    toy: Library, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "cxx"
    program.write_text("no program at all")
    program.chmod(0o755)
    monkeypatch.setenv("CXX", str(program))
    with pytest.raises(CompileError, match="cxx to run, got: Exec format error; set CXX to another"):
        build(toy)


def test_cxx_and_its_arguments_are_used(
    toy: Library, compiler: compiled.Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = build(toy)
    monkeypatch.setenv("CXX", f"{' '.join(compiler.command)} -DUNUSED")
    chosen = build(toy)
    assert chosen != default
    assert answers(chosen) == (42, 7)
    assert compiled.compiler_version(compiled.find_compiler()) == compiled.compiler_version(compiler)


@pytest.mark.parametrize("place", ["/proc/fuserec", "FILE/fuserec", "FILE"])
def test_a_cache_that_cannot_be_written_says_which_variable_moves_it(
    toy: Library, compiler: compiled.Compiler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    place = place.replace("FILE", str(tmp_path / "file"))
    monkeypatch.setenv("FUSEREC_CACHE", place)
    assert built(toy) is None
    assert clean(toy) == []
    with pytest.raises(
        CompileError,
        match=rf"cannot write compiled code in {place}: .*; set FUSEREC_CACHE \(or XDG_CACHE_HOME\)",
    ):
        build(toy)


def test_the_cache_is_where_the_variables_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("FUSEREC_CACHE", str(tmp_path / "own"))
    assert compiled.cache_folder() == tmp_path / "own"
    monkeypatch.delenv("FUSEREC_CACHE")
    assert compiled.cache_folder() == tmp_path / "xdg" / "fuserec"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert compiled.cache_folder() == tmp_path / ".cache" / "fuserec"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert compiled.cache_folder() == tmp_path / ".cache" / "fuserec"


def test_a_user_without_a_home_is_told_of_the_variable(monkeypatch: pytest.MonkeyPatch, toy: Library) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "FUSEREC_CACHE"):
        monkeypatch.delenv(name, raising=False)

    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert built(toy) is None
    with pytest.raises(
        CompileError, match="expected a home folder for compiled code, got none; set FUSEREC_CACHE"
    ):
        compiled.cache_folder()


def test_clean_removes_all_of_this_library_and_nothing_else(
    toy: Library, compiler: compiled.Compiler, cache: Path, tmp_path: Path
) -> None:
    first = build(toy)
    change(tmp_path / "toy.cpp")
    second = build(toy)
    other = build(replace(toy, name="toy_too"))
    (cache / ".toy.partial-abcd_123").mkdir()
    assert sorted(clean(toy)) == sorted([first, second])
    assert what_is_in(cache) == [other.name]
    assert clean(toy) == []


def test_a_damaged_library_is_compiled_again(toy: Library, compiler: compiled.Compiler) -> None:
    path = build(toy)
    path.write_bytes(path.read_bytes()[:1000])
    assert build(toy) == path
    assert answers(path) == (42, 7)


@pytest.mark.skipif(sys.platform != "linux", reason="libraries are ELF files on Linux alone")
def test_a_library_that_was_cut_short_is_none(toy: Library, compiler: compiled.Compiler) -> None:
    """To load it would end the process, without a word, when it reads what is not there."""
    path = build(toy)
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 5000, 64, 40, 6):
        path.write_bytes(whole[:size])
        assert built(toy) is None, size
    path.write_bytes(whole)
    assert built(toy) == path


def test_what_a_killed_process_left_is_no_library(
    toy: Library, compiler: compiled.Compiler, cache: Path, tmp_path: Path
) -> None:
    place = compiled.place(toy, compiler)
    for left in (cache / ".toy.partial-abcd_123" / place.name, cache / f"{place.name}.tmp"):
        left.parent.mkdir(parents=True, exist_ok=True)
        left.write_text("garbage")
    assert built(toy) is None
    assert answers(build(toy)) == (42, 7)


BUILD = """
import sys
from pathlib import Path
from fuserec.compiled import Library, Unit, build
source = Path(sys.argv[1])
units = (Unit(source, ("-DNAME=first",)), Unit(source, ("-DNAME=second", "-DANSWER=7")))
print(build(Library("toy", units, (source.with_suffix(".h"),))))
"""


def start_build(source: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BUILD, str(source)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def test_two_processes_at_once_end_with_one_whole_library(
    toy: Library, compiler: compiled.Compiler, cache: Path, tmp_path: Path
) -> None:
    both = [start_build(tmp_path / "toy.cpp") for _ in range(2)]
    told = [process.communicate(timeout=120)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert told == [str(built(toy))] * 2
    assert what_is_in(cache) == [Path(told[0]).name]
    assert answers(Path(told[0])) == (42, 7)


def test_a_build_that_is_killed_leaves_nothing_that_is_loaded(
    toy: Library, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "cxx"
    program.write_text(SLEEPER)
    program.chmod(0o755)
    monkeypatch.setenv("CXX", str(program))
    process = start_build(tmp_path / "toy.cpp")
    while not (tmp_path / "cxx.started").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(what_is_in(cache)) == 1
    assert built(toy) is None
    clean(toy)
    assert what_is_in(cache) == []
