"""The pages run: every command and every block of Python, as they stand."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fuserec.data import Dataset
from fuserec.testing.commands import RunCommand

ROOT = Path(__file__).resolve().parents[2]
RUN_ELSEWHERE = {
    "docs/how-to/audit.md": "tests/features/audit/test_audit_page.py",
    "docs/how-to/new-items.md": "tests/cli/test_items.py",
    "docs/how-to/other-formats.md": "tests/data/test_other_formats_page.py",
    "docs/how-to/your-own-data.md": "tests/data/test_your_own_data_page.py",
    "docs/how-to/bare-machine.md": "tests/training/test_bare.py",
    "docs/reference/recipe.md": "tests/training/test_recipe_page.py",
    "docs/reference/cli.md": "tests/cli/test_reference.py",
}
RUN_HERE = {
    "README.md",
    "docs/tutorial/first-steps.md",
    "docs/tutorial/your-own-csv.md",
    "docs/how-to/content.md",
    "docs/how-to/histories.md",
    "docs/reference/python.md",
    "docs/reference/sample-corpus.md",
    "docs/reference/attention.md",
    "docs/explanation/attention.md",
    "docs/explanation/evaluation.md",
}
NOT_RUN = {
    "docs/how-to/install.md": "installs packages; tests/house/test_setup.py makes an environment",
    "docs/decisions/0001-one-way-through.md": "holds a drawing",
    "docs/decisions/0008-content.md": "holds a drawing",
    "docs/decisions/0009-sequences.md": "holds a drawing",
    "CONTRIBUTING.md": "holds a drawing",
}


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(page), re.M | re.S)


def commands(block: str) -> list[list[str]]:
    """Programs with their arguments; a line that ends in a backslash goes on, and # begins a comment."""
    lines = block.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def run_all(fuserec: RunCommand, page: str, language: str, **added: list[str]) -> int:
    """Run every ``fuserec`` command of a page; ``added`` arguments keep a command small."""
    found = [words for block in blocks(page, language) for words in commands(block) if words[0] != "make"]
    for program, *arguments in found:
        assert program == "fuserec"
        smaller = [word for name, words in added.items() if name in arguments for word in words]
        outcome = fuserec(*arguments, *smaller)
        assert outcome.code == 0, f"{arguments}: {outcome.err}"
    return len(found)


def run_python(page: str) -> int:
    """Run every block of Python of a page, one after the other in one place."""
    namespace: dict[str, object] = {}
    found = blocks(page, "python")
    for block in found:
        exec(compile(block, page, "exec"), namespace)
    return len(found)


def test_the_tutorial_and_the_python_page_run_as_they_stand(
    fuserec: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_all(fuserec, "docs/tutorial/first-steps.md", "sh") >= 10
    assert run_python("docs/reference/python.md") >= 1
    assert "got 1 unknown: 'nobody'" in capsys.readouterr().out


def test_a_strangers_csv_goes_in_with_one_command_and_comes_out_as_recommendations_with_titles(
    fuserec: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_all(fuserec, "docs/tutorial/your-own-csv.md", "sh") >= 15
    with Path("export/movies.csv").open(encoding="utf-8", newline="") as file:
        titles = {row["movieId"]: row["title"] for row in csv.DictReader(file)}
    with Path("recommendations.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 300 * 10
    assert all(row["title"] == titles[row["item_id"]] for row in rows)
    assert run_python("docs/tutorial/your-own-csv.md") == 1
    assert "title" in capsys.readouterr().out


@pytest.mark.slow
def test_a_strangers_csv_and_a_folder_of_pictures_become_recommendations(
    fuserec: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers", reason="the extra text is not installed")
    monkeypatch.chdir(tmp_path)
    before = set(Path().iterdir())
    assert run_all(fuserec, "docs/how-to/content.md", "sh") == 10
    left = {path.name for path in set(Path().iterdir()) - before}
    assert left == {"stranger", "shop", "runs", "audit.html"}, "something was written elsewhere"
    modalities = Dataset.open("shop").manifest.modalities
    assert set(modalities) == {"title", "text", "image", "category", "price"}
    assert all(entry.features and entry.features.present > 150 for entry in modalities.values())
    (shown,) = fuserec("recommend", "runs/tmfun", "--user", "u0001", "-k", 5, "--json").lines
    assert len(shown["items"]) == 5
    assert run_python("docs/how-to/content.md") == 1
    assert "image 1" in capsys.readouterr().out


@pytest.mark.slow
def test_histories_are_read_whole_and_followed_event_by_event(
    fuserec: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers", reason="the extra text is not installed")
    monkeypatch.chdir(tmp_path)
    assert run_all(fuserec, "docs/how-to/histories.md", "sh") == 8
    assert run_python("docs/how-to/histories.md") == 1
    (shown,) = fuserec("recommend", "runs/mufasa", "--user", "u0001", "-k", 5, "--json").lines
    assert len(shown["items"]) == 5


def test_the_readme_runs_on_files_such_as_it_speaks_of(
    fuserec: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    items = [f"b-{item}" for item in range(80)]
    Path("items.csv").write_text("item_id,title\n" + "".join(f"{item},Thing {item}\n" for item in items))
    rows = [f"{user},{items[item]}" for user in range(4700, 4730) for item in rng.permutation(80)[:6]]
    Path("events.csv").write_text("user_id,item_id\n" + "\n".join(rows) + "\n")
    Path("photos").mkdir()
    for item in items:
        Image.fromarray(rng.integers(0, 256, (12, 8, 3), dtype=np.uint8)).save(f"photos/{item}.png")
    assert run_all(fuserec, "README.md", "") >= 5
    assert run_python("README.md") == 1


def test_the_page_of_the_sample_corpus_runs_on_a_smaller_one(
    fuserec: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["--users", "40", "--items", "60"]
    assert run_all(fuserec, "docs/reference/sample-corpus.md", "", sample=small) == 2


def test_the_page_on_measuring_runs_and_shows_a_refusal(
    fuserec: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # the last events of every third user happened at once
    rows = [
        f"u{user},i{(user + place) % 9},{place - (place == 4 and user % 3 == 0)}"
        for user in range(12)
        for place in range(5)
    ]
    Path("events.csv").write_text("user,item,time\n" + "\n".join(rows) + "\n")
    assert fuserec("data", "build", "shop", "--events", "events.csv").code == 0
    assert run_python("docs/explanation/evaluation.md") == 3
    assert sorted(Path("not-tied.txt").read_text().split()) == sorted(
        f"u{user}" for user in range(12) if user % 3
    )
    told = capsys.readouterr().out
    assert told.startswith("expected numbers of one protocol, got ")
    assert "mask 'train+valid' and 'train'; ties 'expectation' and 'order'" in told


def test_the_page_of_sparse_attention_runs_and_shows_its_refusals(capsys: pytest.CaptureFixture[str]) -> None:
    page = "docs/reference/attention.md"
    assert run_python(page) >= 7
    shown = text_of(page).split("\nprints\n\n", 1)[1]
    assert capsys.readouterr().out.splitlines() == [line.removeprefix("    ") for line in shown.splitlines()]


def test_the_page_on_what_sparse_attention_costs_counts_right_and_serves() -> None:
    assert run_python("docs/explanation/attention.md") == 3


def test_every_page_with_a_block_is_run_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    with_blocks = {page.relative_to(ROOT).as_posix() for page in pages if "\n```" in page.read_text("utf-8")}
    assert with_blocks == {*RUN_ELSEWHERE, *RUN_HERE, *NOT_RUN}
    for page, test in RUN_ELSEWHERE.items():
        assert Path(page).name in text_of(test)


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.M))
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    told = {
        (page.name, target)
        for page in pages
        for target in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text("utf-8"), re.M)
    }
    assert {"setup", "demo", "test", "lock"} <= {target for _, target in told}
    assert [named for named in sorted(told) if named[1] not in targets] == []
