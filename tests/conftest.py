"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fuserec.testing.commands import Outcome, RunCommand

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The research data, which never enters the repository; tests skip where it is absent."""
    place = Path(os.environ.get("FUSEREC_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (place / "amazon-baby" / "interactions.parquet").exists():
        pytest.skip(f"the research data is not at {place}; set FUSEREC_DATA to run this test")
    return place


@pytest.fixture
def fuserec(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> RunCommand:
    """Runs ``fuserec`` with the arguments given and hands back what it left."""
    # Set here so that what main() sets is put back after the test.
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setenv("GOMP_SPINCOUNT", "0")
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "1")

    from fuserec.cli import main  # here, so that tests of the core need no typer

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        written = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), written.out, written.err)

    return run
