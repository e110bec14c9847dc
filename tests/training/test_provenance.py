from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
import torch

from fuserec.testing.corpora import tiny_prepared
from fuserec.training import provenance as module
from fuserec.training.allocator import keep_freed_memory
from fuserec.training.provenance import commit, machine, provenance


def git(folder: Path, *arguments: str) -> str:
    who = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=os.environ | who, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of somebody's, with a file in it and the module beside, not added."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "mine.txt").write_text("one")
    (tmp_path / "provenance.py").write_text("")
    git(tmp_path, "add", "mine.txt")
    git(tmp_path, "commit", "--quiet", "-m", "Begin")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "provenance.py"))
    return tmp_path


def test_the_commit_is_the_checkouts_and_says_when_files_differ(checkout: Path) -> None:
    git(checkout, "add", "provenance.py")
    git(checkout, "commit", "--quiet", "-m", "Add")
    head = git(checkout, "rev-parse", "HEAD")
    assert re.fullmatch("[0-9a-f]{40}", head)
    assert commit() == head
    (checkout / "new.txt").write_text("not tracked: no difference")
    assert commit() == head
    (checkout / "mine.txt").write_text("two")
    assert commit() == f"{head}+changes"


def test_a_package_that_lies_in_somebody_elses_checkout_has_no_commit(checkout: Path) -> None:
    assert commit() == "unknown"


def test_outside_a_checkout_or_without_git_the_commit_is_unknown(
    tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(checkout, "add", "provenance.py")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert commit() == "unknown"
    monkeypatch.undo()
    monkeypatch.setattr(module, "__file__", "/provenance.py")
    assert commit() == "unknown"


def test_the_machine_is_what_decides_the_last_bits() -> None:
    found = machine()
    assert found["python"] == platform.python_version()
    assert found["fuserec"] == metadata.version("fuserec")
    assert found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert found.keys() == {"python", "fuserec", "torch", "numpy", "threads", "cpu_capability", "device"}


def test_files_that_are_not_installed_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    assert machine()["fuserec"] == "not installed"


def test_provenance_names_data_split_and_seed_and_is_json() -> None:
    prepared = tiny_prepared(seed=3)
    found = provenance(prepared, seed=7, dataset="data/baby")
    assert json.loads(json.dumps(found)) == found
    assert (found["seed"], found["dataset"], found["split"]) == (7, "data/baby", "leave-one-out")
    assert (found["dataset_hash"], found["split_hash"]) == (prepared.dataset_hash, prepared.split_hash)
    assert provenance(prepared, seed=7, dataset=None)["dataset"] is None


def test_the_allocator_agrees_always_or_never() -> None:
    assert keep_freed_memory() is keep_freed_memory()
    if platform.libc_ver()[0] == "glibc":
        assert keep_freed_memory()


def test_on_a_system_without_glibc_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert keep_freed_memory.__wrapped__() is False
