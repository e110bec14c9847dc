"""Ctrl-C, a full disk, a folder that cannot be written: nothing half-written is left."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from fuserec.data.build import Sources, build
from fuserec.errors import DataError


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """A dataset of about 3 MB, most of it features."""
    (tmp_path / "events.csv").write_text(
        "user,item\n" + "".join(f"u{row % 50},{row}\n" for row in range(1000))
    )
    (tmp_path / "items.csv").write_text("item\n" + "".join(f"{row}\n" for row in range(1000)))
    np.save(tmp_path / "image.npy", np.random.default_rng(0).normal(size=(1000, 800)).astype(np.float32))
    return Sources(
        events=tmp_path / "events.csv",
        items=tmp_path / "items.csv",
        features={"image": tmp_path / "image.npy"},
    )


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writing more than ``size`` bytes to a file fails, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [100, 3_000, 1_000_000])
def test_a_write_that_fails_anywhere_leaves_nothing(sources: Sources, tmp_path: Path, size: int) -> None:
    (tmp_path / "out").mkdir()
    with largest_file(size), pytest.raises(DataError, match=r"could not write .*data: File too large"):
        build(tmp_path / "out" / "data", sources)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_leaves_nothing(sources: Sources, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("mounting a small disk takes root; the test above limits the size of files instead")
    mounted = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    try:
        with pytest.raises(DataError, match=r"could not write .*data: No space left on device"):
            build(disk / "data", sources)
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_that_cannot_be_written_is_told(sources: Sources, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        parent = Path(name)
        parent.chmod(0o555)
        nobody = os.geteuid() == 0
        if nobody:
            # Root may write everywhere, so the build runs as someone else for a moment.
            for folder in (tmp_path, *list(tmp_path.parents)[:3]):
                folder.chmod(folder.stat().st_mode | 0o055)
            os.seteuid(65534)
        try:
            with pytest.raises(DataError, match=r"cannot write in .*: Permission denied"):
                build(parent / "data", sources)
        finally:
            if nobody:
                os.seteuid(0)
        assert list(parent.iterdir()) == []
        parent.chmod(0o755)


SLOW_BUILD = """
import sys, time
from pathlib import Path
from fuserec.data import write
from fuserec.data.build import Sources, build

hash_file = write.sha256_file
def slow(path):
    time.sleep(0.2)
    return hash_file(path)
write.sha256_file = slow
folder = Path(sys.argv[1])
build(folder / "out" / "data", Sources(events=folder / "events.csv", items=folder / "items.csv",
      features={"image": folder / "image.npy"}))
"""


def test_ctrl_c_in_the_middle_leaves_nothing(sources: Sources, tmp_path: Path) -> None:
    out = sources.events.parent / "out"
    out.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_BUILD, str(tmp_path)], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    # The features are written, the manifest is not: the folder is half-written.
    while not list(out.glob(".data.partial-*/features/image.present.npy")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors
    assert list(out.iterdir()) == []
