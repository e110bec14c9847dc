from __future__ import annotations

from pathlib import Path

from fuserec.testing.commands import RunCommand


def test_the_demo_goes_all_the_way_and_refuses_to_go_over_another(
    fuserec: RunCommand, tmp_path: Path
) -> None:
    out = tmp_path / "demo"
    outcome = fuserec("demo", "--out", out, "--users", 60, "--items", 60, "--epochs", 2, "--quiet")
    assert outcome.code == 0, outcome.err
    assert sorted(path.name for path in out.iterdir()) == ["dataset", "report.html", "runs", "sample"]
    assert f"open {out / 'report.html'}" in outcome.out
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Synthetic data" in page
    assert page.count("<article>") == 8
    assert "next took" in page
    assert "gets the most popular ones" in page
    assert page.count("data:image/png") > 20
    assert len((out / "runs" / "tmfun" / "log.jsonl").read_text().splitlines()) == 2
    again = fuserec("demo", "--out", out)
    assert (again.code, again.err.count("\n")) == (1, 1)
    assert f"{out} exists" in again.err


def test_a_demo_of_no_epoch_is_refused_before_it_begins(fuserec: RunCommand, tmp_path: Path) -> None:
    outcome = fuserec("demo", "--out", tmp_path / "demo", "--epochs", 0)
    assert outcome.code == 2
    assert list(tmp_path.iterdir()) == []
