from __future__ import annotations

from pathlib import Path

from fuserec.testing.commands import RunCommand


def test_a_table_is_never_made_in_the_background(fuserec: RunCommand, tmp_path: Path) -> None:
    folders = ("--data", tmp_path / "data", "--results", tmp_path / "results", "--runs", tmp_path / "runs")
    done = fuserec("sweep", "popularity", *folders, "--background", "--table")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "error: expected --background or --table, got both; --table runs nothing, so there is nothing to start\n"
    )
    assert list(tmp_path.iterdir()) == []
