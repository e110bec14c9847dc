from __future__ import annotations

import io
import json
import re

import pytest

from fuserec.cli import terminal
from fuserec.training.progress import Lines, Progress


def watched(progress: Progress) -> None:
    progress.start(2, "epoch 1")
    progress.step(1, total=0.5)
    progress.note("half way")
    progress.step(1, total=0.25)
    progress.done()


def test_progress_off_a_terminal_is_plain_lines_on_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lines, "every", 0.0)
    watched(terminal.progress())
    written = capsys.readouterr()
    assert written.out == ""
    first, note, second = written.err.splitlines()
    assert re.fullmatch(r"epoch 1 1/2 \S+/s total 0\.5  \d+ s left", first)
    assert note == "half way"
    assert second.startswith("epoch 1 2/2 ")


def test_progress_off_a_terminal_says_little(capsys: pytest.CaptureFixture[str]) -> None:
    watched(terminal.progress())
    assert capsys.readouterr().err == "half way\n"


def test_quiet_progress_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    watched(terminal.progress(quiet=True))
    assert capsys.readouterr() == ("", "")


def test_a_bar_shows_figures_and_leaves_only_its_notes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    progress = terminal.progress()
    watched(progress)
    progress.start(3, "epoch 2")
    progress.done()
    written = capsys.readouterr()
    assert written.out == ""
    assert "half way" in written.err
    assert "0.25" in written.err


def test_a_table_sets_figures_flush_right_and_keeps_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_table(["title", "score"], [["[red]hat[/red] :smile:", "1.5"], ["cat", "-10.25"]])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[2].strip() == "[red]hat[/red] :smile:      1.5"
    assert lines[3].strip() == "cat                      -10.25"


def test_a_markdown_table_escapes_bars(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_markdown(["a", "b"], [["x|y", "1"]])
    assert capsys.readouterr().out == "| a | b |\n|---|---|\n| x\\|y | 1 |\n"


def test_json_refuses_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        terminal.print_json({"value": float("nan")})


def test_json_keeps_letters_that_the_output_cannot_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="latin-1", errors="replace"))
    terminal.print_json({"id": "ü€😀"})
    assert json.loads(raw.getvalue()) == {"id": "ü€😀"}
