"""The page docs/how-to/audit.md does what it says, on a smaller shop; its thresholds are those of the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from fuserec.features.audit import words
from fuserec.features.audit.measure import LEAST_FINE, LEAST_LIFT
from fuserec.features.audit.spread import FEWEST_DIRECTIONS, MOST_ALIKE
from fuserec.features.audit.twins import ALIKE
from fuserec.testing.commands import RunCommand

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "how-to" / "audit.md").read_text(encoding="utf-8")
SMALLER = {"sample": ["--users", "60", "--items", "60"], "train": ["--set", "train.epochs=1"]}


@pytest.mark.slow
def test_every_command_of_the_page_runs_in_order(
    fuserec: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = []
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S)
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        program, *arguments = shlex.split(line)
        assert program == "fuserec"
        smaller = [word for name, words in SMALLER.items() if name in arguments for word in words]
        done = fuserec(*arguments, *smaller)
        assert done.code == 0, (line, done.err)
        told.append(done.out)
    assert len(told) == 6
    assert "shop, training events of leave-one-out (synthetic data)" in told[2]
    assert told[3] == told[2]
    assert Path("audit.html").read_text(encoding="utf-8").count("data:image/jpeg;base64,") > 12
    assert "left out" in told[5]


def test_the_page_explains_every_column_and_threshold() -> None:
    for column in words.HEADER:
        if column not in {"modality", "made of", "verdict"}:
            assert f"| {column} |" in PAGE
    assert f"mean cosine is {MOST_ALIKE:.2f} or more".replace("0.", ".") in PAGE
    assert f"fewer than {FEWEST_DIRECTIONS} directions" in PAGE
    assert f"the lift is below {LEAST_LIFT}, or less than two standard errors above 1" in PAGE
    assert f"the lift is below {LEAST_FINE} |" in PAGE
    assert f"cosine of {ALIKE} or more".replace("0.", ".") in PAGE
