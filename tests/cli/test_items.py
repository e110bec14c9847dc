from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from fuserec.cli import items
from fuserec.data.build import Sources, build
from fuserec.errors import ConfigError, DataError
from fuserec.testing.commands import RunCommand
from fuserec.training.config import parse_recipe
from fuserec.training.run import train

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "new-items.md"


def command(*arguments: object) -> Result:
    return CliRunner().invoke(items.app, [str(argument) for argument in arguments])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Six people who had three things each, described by ready vectors, and a run on them."""
    events = [f"u{user},{item}" for user in range(6) for item in (f"i{user % 2}", f"i{2 + user % 2}", "i4")]
    (tmp_path / "events.csv").write_text("user,item\n" + "\n".join(events) + "\n")
    (tmp_path / "items.csv").write_text(
        "item,title\n" + "".join(f"i{item},Thing {item}\n" for item in range(5))
    )
    np.save(tmp_path / "look.npy", np.eye(5, 3, dtype=np.float32) + 0.1)
    dataset = build(
        tmp_path / "data",
        Sources(
            events=tmp_path / "events.csv",
            items=tmp_path / "items.csv",
            features={"look": tmp_path / "look.npy"},
        ),
    )
    recipe = parse_recipe({"model": {"name": "content_knn"}, "evaluation": {"cutoffs": [2]}})
    train(recipe, dataset.prepare(), tmp_path / "run", dataset=str(dataset.path.resolve()))
    (tmp_path / "new.csv").write_text("item,title\nn1,New\nn2,Bare\ni0,Known\n")
    np.savez(tmp_path / "look.npz", features=np.ones((1, 3), dtype=np.float32), ids=np.array(["n1"]))
    return tmp_path / "run"


def test_items_are_added_and_what_to_know_of_them_is_told(
    run: Path, tmp_path: Path, fuserec: RunCommand
) -> None:
    done = command("add", run, tmp_path / "new.csv", "--features", f"look={tmp_path / 'look.npz'}")
    assert done.exit_code == 0, done.output
    assert re.fullmatch(rf"added 2 items to {run} in [\d.]+ s: 1 with look\n", done.stdout)
    assert "1 item of new.csv already there; what is known of them stays (i0)\n" in done.stderr
    assert "1 item without content that the model uses, so recommended to nobody: 'n2'\n" in done.stderr
    shown = fuserec("recommend", run, "--user", "u0", "--only", "n1", "--json")
    assert shown.json["items"][0]["title"] == "New"
    assert fuserec("similar", run, "n1", "-k", "1").code == 0

    (tmp_path / "more.csv").write_text("item,title\nn3,Newer\n")
    np.save(tmp_path / "more.npy", np.ones((1, 3), dtype=np.float32))
    more = command("add", run, tmp_path / "more.csv", "--features", f"look={tmp_path / 'more.npy'}")
    assert more.stdout.endswith("1 with look\n3 added in all\n")


def test_json_holds_all_of_it(run: Path, tmp_path: Path) -> None:
    done = command("add", run, tmp_path / "new.csv", "--features", f"look={tmp_path / 'look.npz'}", "--json")
    told = json.loads(done.stdout)
    assert told.pop("seconds") > 0
    assert [finding["kind"] for finding in told.pop("findings")] == ["known item"]
    assert told == {"items": ["n1", "n2"], "with_content": {"look": 1}, "unplaced": ["n2"], "total": 2}
    assert done.stderr == ""


def test_wrong_options_are_refused(run: Path, tmp_path: Path) -> None:
    refused = command("add", run, tmp_path / "new.csv", "--columns", "split=title")
    assert isinstance(refused.exception, ConfigError)
    assert "items have no split" in str(refused.exception)
    refused = command("add", run, tmp_path / "new.csv")
    assert isinstance(refused.exception, DataError)
    assert "(look), found none" in str(refused.exception)
    assert not (run / "added").exists()


@pytest.mark.slow
def test_the_page_of_new_items_runs_as_it_stands(
    fuserec: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    page = PAGE.read_text(encoding="utf-8")
    (block,) = re.findall(r"^```csv\n(.*?)^```$", page, re.M | re.S)
    Path("new.csv").write_text(block)
    Path("photos").mkdir()
    Image.new("RGB", (64, 96), "navy").save("photos/n-1.png")
    commands = [
        words
        for block in re.findall(r"^```console\n(.*?)^```$", page, re.M | re.S)
        for line in block.splitlines()
        if (words := shlex.split(line))
    ]
    small = {"sample": ["--users", "60", "--items", "80"]}
    for _, *words in commands:
        if words[0] == "items":
            added = command(*words[1:])
            assert added.exit_code == 0, added.output
            continue
        done = fuserec(*words, *(more for name in words[:2] for more in small.get(name, [])))
        assert done.code == 0, done.err
    assert len(commands) >= 7
