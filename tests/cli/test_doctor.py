from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fuserec.cli import doctor

if TYPE_CHECKING:
    import pytest

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
