from __future__ import annotations

import pytest

from fuserec.cli import main
from fuserec.testing.commands import Outcome, RunCommand


@pytest.fixture
def fuserec(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> RunCommand:
    """Runs ``fuserec`` with the arguments given and hands back what it left."""
    # Set here so that what main() sets is put back after the test.
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setenv("GOMP_SPINCOUNT", "0")

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        written = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), written.out, written.err)

    return run
