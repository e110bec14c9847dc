"""The page docs/how-to/your-own-data.md does what it says, block by block."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from fuserec.cli import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "your-own-data.md"
BLOCK = re.compile(r"(?P<before>[^\n]*)\n\n```(?P<kind>csv|console|python)\n(?P<text>.*?)```", re.DOTALL)


def test_every_block_of_the_page_runs_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setenv("GOMP_SPINCOUNT", "0")
    text = PAGE.read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) == text.count("```") // 2
    for block in blocks:
        if block["kind"] == "csv":
            name = re.findall(r"`([a-z]+\.csv)`", block["before"])[-1]
            Path(name).write_text(block["text"], encoding="utf-8")
        elif block["kind"] == "python":
            exec(compile(block["text"], PAGE.name, "exec"), {})
        else:
            for line in block["text"].splitlines():
                program, *arguments = shlex.split(line)
                assert program == "fuserec"
                with pytest.raises(SystemExit) as ended:
                    main(arguments)
                assert not ended.value.code, (line, capsys.readouterr().err)
    told = capsys.readouterr().out
    assert "1 event left out: a duplicate of an earlier event (events.csv:8)" in told
    assert "2 4 ('leave-one-out',)" in told
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {
        "shop",
        "songs",
        "both",
        "rich",
        "again",
    }
