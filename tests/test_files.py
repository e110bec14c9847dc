from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuserec.errors import DataError
from fuserec.files import hash_json, new_folder, read_arrays, read_json, sha256_file, write_bytes, write_json

NOBODY = 65534


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden entries too."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = shutil.which("mount") is not None and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, check=False
    )
    if not mounted or mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here; it takes root and a kernel that allows it")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.fixture
def locked() -> Iterator[Path]:
    """A folder that can be seen but not written, and in it one that cannot even be looked into."""
    place = Path(tempfile.mkdtemp(prefix="fuserec-locked-", dir="/tmp"))
    (place / "hidden").mkdir(mode=0)
    place.chmod(0o555)
    yield place
    place.chmod(0o755)
    (place / "hidden").rmdir()
    place.rmdir()


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may write anywhere, so it becomes nobody for a moment; others stay who they are."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Every write beyond ``size`` bytes of a file fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# --- new_folder


def test_a_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as stage:
        (stage / "a.txt").write_text("a")
        assert not (tmp_path / "out").exists()
        assert stage.parent == tmp_path
    assert (tmp_path / "out" / "a.txt").read_text() == "a"
    assert names(tmp_path) == ["out"]


def test_the_parents_are_made(tmp_path: Path) -> None:
    with new_folder(tmp_path / "x" / "y" / "out"):
        pass
    assert (tmp_path / "x" / "y" / "out").is_dir()


@pytest.mark.parametrize("failure", [ValueError("bug"), KeyboardInterrupt(), SystemExit(3), MemoryError()])
@pytest.mark.parametrize("overwrite", [False, True])
def test_whatever_goes_wrong_nothing_is_left(tmp_path: Path, failure: BaseException, overwrite: bool) -> None:
    def fail() -> None:
        with new_folder(tmp_path / "out", overwrite=overwrite) as stage:
            (stage / "half").write_text("half")
            raise failure

    with pytest.raises(type(failure)):
        fail()
    assert names(tmp_path) == []


def test_a_folder_that_stands_there_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    begun = False
    with (
        pytest.raises(
            DataError, match=r"expected a new folder, but .*out exists; choose another or pass --ov"
        ),
        new_folder(tmp_path / "out"),
    ):
        begun = True
    assert not begun


def test_a_file_in_the_place_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with (
        pytest.raises(DataError, match=r"expected a folder to overwrite, but .*out is a file"),
        new_folder(tmp_path / "out", overwrite=True),
    ):
        pass
    assert (tmp_path / "out").read_text() == "mine"


def test_overwriting_replaces_everything_and_only_at_the_end(tmp_path: Path) -> None:
    place = tmp_path / "out"
    place.mkdir()
    (place / "old").write_text("old")
    with new_folder(place, overwrite=True) as stage:
        (stage / "new").write_text("new")
        assert names(place) == ["old"]
    assert names(place) == ["new"]
    assert names(tmp_path) == ["out"]


def test_a_failure_leaves_the_folder_that_was_to_be_overwritten(tmp_path: Path) -> None:
    place = tmp_path / "out"
    place.mkdir()
    (place / "old").write_text("old")

    def fail() -> None:
        with new_folder(place, overwrite=True):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(place) == ["old"]
    assert names(tmp_path) == ["out"]


def test_a_failing_exchange_brings_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "out"
    place.mkdir()
    (place / "old").write_text("old")
    replace = os.replace

    def refuse_the_new(source: Path, target: Path) -> None:
        if ".partial-" in str(source):
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse_the_new)
    with (
        pytest.raises(DataError, match=r"could not write .*out: Input/output error"),
        new_folder(place, overwrite=True) as stage,
    ):
        (stage / "new").write_text("new")
    assert names(place) == ["old"]
    assert names(tmp_path) == ["out"]


def test_of_two_that_make_the_same_place_the_second_does_not_delete_the_first(tmp_path: Path) -> None:
    place = tmp_path / "out"
    with (
        pytest.raises(DataError, match=r"could not write .*out: Directory not empty"),
        new_folder(place),
        new_folder(place) as other,
    ):
        (other / "first").write_text("first")
    assert names(place) == ["first"]
    assert names(tmp_path) == ["out"]


LEAVE_HALF = """
import os, signal, sys
from pathlib import Path
from fuserec.files import new_folder

with new_folder(Path(sys.argv[1])) as stage:
    (stage / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_and_nothing_else(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", LEAVE_HALF, str(tmp_path / "out")], check=False)
    assert killed.returncode == -signal.SIGKILL
    (stale,) = tmp_path.iterdir()
    assert (stale / "half").is_file()
    others = [".out.partial-notes", ".out.partial-abcd1234.partial-abcd1234", ".out2.partial-abcd1234"]
    for name in others:
        (tmp_path / name).mkdir()
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / ".out.partial-link0000").symlink_to(target)
    with new_folder(tmp_path / "out", overwrite=True) as first:
        assert not stale.exists()
        with new_folder(tmp_path / "out"):
            assert first.is_dir(), "a folder that is being written stays"
    assert names(tmp_path) == sorted([*others, ".out.partial-link0000", "target", "out"])


def test_on_a_disk_without_locks_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    (tmp_path / ".out.partial-abcd1234").mkdir()
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with new_folder(tmp_path / "out"):
        pass
    assert names(tmp_path) == [".out.partial-abcd1234", "out"]


def test_a_parent_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write in .*file: "), new_folder(tmp_path / "file" / "out"):
        pass


@pytest.mark.parametrize("parent", [".", "x", "hidden"])
def test_a_parent_that_cannot_be_written_is_named(locked: Path, parent: str) -> None:
    place = locked / parent / "out"
    with (
        without_privileges(),
        pytest.raises(DataError, match=rf"^cannot write in {place.parent}: Permission denied$"),
        new_folder(place),
    ):
        pass


def test_a_full_disk_gives_one_line_and_leaves_nothing(tiny_disk: Path) -> None:
    with (
        pytest.raises(DataError, match=r"^could not write .*out: No space left on device$"),
        new_folder(tiny_disk / "out") as stage,
    ):
        write_bytes(stage / "big", bytes(2**17))
    assert names(tiny_disk) == []


def test_a_write_that_is_cut_off_gives_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"^could not write .*out: File too large$"),
        new_folder(tmp_path / "out") as stage,
        largest_file(2**20),
    ):
        write_bytes(stage / "big", bytes(2**21))
    assert names(tmp_path) == []


# --- write_bytes, write_json, read_json


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_bytes(tmp_path / "f", b"one")
    write_bytes(tmp_path / "f", b"two")
    assert (tmp_path / "f").read_bytes() == b"two"
    assert names(tmp_path) == ["f"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    write_bytes(tmp_path / "f", b"old")
    with pytest.raises(OSError, match="File too large"), largest_file(2**20):
        write_bytes(tmp_path / "f", bytes(2**21))
    assert (tmp_path / "f").read_bytes() == b"old"
    assert names(tmp_path) == ["f"]


def test_ctrl_c_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    write_bytes(tmp_path / "f", b"old")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"old"
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_has_no_nan_and_a_refused_value_leaves_no_file(tmp_path: Path, number: float) -> None:
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        write_json(tmp_path / "f.json", {"a": number})
    assert names(tmp_path) == []


def test_json_comes_back_with_letters_of_all_kinds(tmp_path: Path) -> None:
    value = {"title": "Bébé 玩具", "n": [1, 2.5, None, True]}
    write_json(tmp_path / "f.json", value)
    assert read_json(tmp_path / "f.json") == value
    assert "Bébé" in (tmp_path / "f.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe\x00", b"{'a': 1}", b"[NaN]", b"-Infinity", b"[" * 100_000]
)
def test_what_is_no_json_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f.json").write_bytes(content)
    with pytest.raises(DataError, match=r"^expected JSON in .*f\.json, got: [^\n]+$"):
        read_json(tmp_path / "f.json")


def test_a_missing_json_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected the file .*f\.json, but it does not exist"):
        read_json(tmp_path / "f.json")


# --- read_arrays


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_arrays_come_back(tmp_path: Path) -> None:
    (tmp_path / "f.npz").write_bytes(npz(a=np.arange(3), b=np.array(["x", "yz"])))
    arrays = read_arrays(tmp_path / "f.npz")
    assert {name: array.tolist() for name, array in arrays.items()} == {"a": [0, 1, 2], "b": ["x", "yz"]}


def _single() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"junk", b"PK\x03\x04", _single(), npz(a=np.array([{}], dtype=object)), npz(a=np.arange(9))[:-30]],
    ids=["empty", "junk", "zip head", "single array", "pickle", "cut short"],
)
def test_what_is_no_npz_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"^expected named arrays in .*f\.npz, got[^\n]+$"):
        read_arrays(tmp_path / "f.npz")


def test_a_missing_npz_and_a_folder_in_its_place_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected the file .*f\.npz, but it does not exist"):
        read_arrays(tmp_path / "f.npz")
    with pytest.raises(DataError, match=r"expected named arrays in .*, got: .*Is a directory"):
        read_arrays(tmp_path)


def test_damaged_bytes_are_refused_or_harmless(tmp_path: Path) -> None:
    whole = npz(a=np.arange(20), b=np.linspace(0, 1, 30))
    wanted = {"a": np.arange(20).tolist(), "b": np.linspace(0, 1, 30).tolist()}
    rng, refused = random.Random(0), 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 3, 20])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        (tmp_path / "f.npz").write_bytes(damaged)
        try:
            arrays = read_arrays(tmp_path / "f.npz")
        except DataError:
            refused += 1
        else:
            assert all(array.tolist() == wanted[name] for name, array in arrays.items() if name in wanted)
    assert refused > 200


# --- hashes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(entry) for entry in value] if isinstance(value, list) else value


@given(JSON)
def test_the_hash_of_json_does_not_know_the_order_of_keys_or_a_trip_through_a_file(value: Any) -> None:
    assert hash_json(value) == hash_json(reordered(value)) == hash_json(json.loads(json.dumps(value)))


@pytest.mark.parametrize(
    ("one", "other"), [([1, 2], [2, 1]), ({"a": 1}, {"a": 2}), (1, "1"), (None, {}), ([], {})]
)
def test_different_values_have_different_hashes(one: Any, other: Any) -> None:
    assert hash_json(one) != hash_json(other)


def test_hashes_are_sha256(tmp_path: Path) -> None:
    # echo -n '{"a":1}' | sha256sum
    known = "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    (tmp_path / "f").write_bytes(b'{"a":1}')
    assert hash_json({"a": 1}) == sha256_file(tmp_path / "f") == known


def test_nan_has_no_hash() -> None:
    with pytest.raises(ValueError, match="Out of range float values"):
        hash_json(float("nan"))
