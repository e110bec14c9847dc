from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fuserec import compiled
from fuserec.cli import doctor
from fuserec.errors import CompileError
from fuserec.ops.attention.native import operator as native
from fuserec.ops.attention.native.library import LIBRARY

if TYPE_CHECKING:
    from fuserec.testing.commands import RunCommand


def test_a_healthy_machine_has_all_that_is_needed(fuserec: RunCommand) -> None:
    outcome = fuserec("doctor", "--json")
    assert outcome.code == 0
    found = {finding["name"]: finding for finding in outcome.json}
    assert {"python", "torch", "polars", "processor", "threads"} <= set(found)
    assert all(finding["ok"] for finding in found.values() if finding["needed"])


def test_what_is_needed_and_missing_is_named_and_fails(
    fuserec: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    outcome = fuserec("doctor")
    assert outcome.code == 1
    line = next(line for line in outcome.out.splitlines() if "safetensors" in line)
    assert "BROKEN" in line
    assert "pip install safetensors" in line


def test_a_folder_that_cannot_be_written_is_a_finding(tmp_path: Path) -> None:
    finding = doctor._disk(tmp_path)
    assert finding.ok
    broken = doctor._disk(Path("/proc"))
    assert not broken.ok
    assert "cannot be written" in broken.found


def attention(fuserec: RunCommand) -> dict[str, Any]:
    outcome = fuserec("doctor", "--json")
    assert outcome.code == 0
    (finding,) = (finding for finding in outcome.json if finding["name"] == "attention")
    return finding  # type: ignore[no-any-return]


def test_a_compiler_that_is_absent_is_told_and_is_not_needed(
    fuserec: RunCommand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    outcome = fuserec("doctor", "--json")
    assert outcome.code == 0
    (finding,) = (finding for finding in outcome.json if finding["name"] == "compiler")
    assert (finding["found"], finding["ok"], finding["needed"]) == ("none", False, False)
    assert "sudo apt-get install g++; everything works without native code, slower" in finding["advice"]


def test_the_form_of_attention_that_auto_chooses_is_told(
    fuserec: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    if native.built():
        finding = attention(fuserec)
        assert finding["found"] == f"native, {native.best_instruction_set()}"
        assert (finding["ok"], finding["needed"], finding["advice"]) == (True, False, "")
    monkeypatch.setattr(native, "built", lambda: False)
    finding = attention(fuserec)
    assert finding["found"] == "blocked, because native is not compiled"
    assert (finding["ok"], finding["needed"]) == (False, False)
    assert finding["advice"] == "for speed: fuserec build-native"


@pytest.mark.parametrize("content", [b"hello", None], ids=["no library", "another library"])
def test_a_native_library_that_does_not_load_is_told(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own: what has been loaded once stays loaded."""
    monkeypatch.setenv("FUSEREC_CACHE", str(tmp_path))
    try:
        damaged = compiled.place(LIBRARY, compiled.find_compiler())
    except CompileError:
        pytest.skip("there is no compiler, whose libraries alone would be asked for")
    damaged.parent.mkdir(parents=True, exist_ok=True)
    other = Path(importlib.import_module("_ctypes").__file__ or "")
    damaged.write_bytes(other.read_bytes() if content is None else content)

    done = subprocess.run(
        [sys.executable, "-m", "fuserec", "doctor", "--json"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    (finding,) = (item for item in json.loads(done.stdout) if item["name"] == "attention")
    assert finding["found"] == "native, which does not load"
    assert "run `fuserec build-native --clean`" in finding["advice"]
