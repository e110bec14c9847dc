from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fuserec.testing.commands import RunCommand


@pytest.fixture
def shop(fuserec: RunCommand, tmp_path: Path) -> Path:
    rows = [f"{user},{(user + 2 * place) % 12}" for user in range(24) for place in range(5)]
    (tmp_path / "events.csv").write_text("\n".join(["user,item", *rows]) + "\n")
    (tmp_path / "items.csv").write_text("item,title\n" + "".join(f"{i},Thing {i}\n" for i in range(12)))
    text = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    text[:, 0] += 5 * (np.arange(12) % 2)
    np.save(tmp_path / "text.npy", text)
    files = ["--events", tmp_path / "events.csv", "--items", tmp_path / "items.csv"]
    done = fuserec("data", "build", tmp_path / "shop", *files, "--features", f"text={tmp_path / 'text.npy'}")
    assert done.code == 0, done.err
    return tmp_path / "shop"


def test_audit_prints_a_table_or_json_and_writes_a_page_once(
    fuserec: RunCommand, shop: Path, tmp_path: Path
) -> None:
    page = tmp_path / "audit.html"
    done = fuserec("features", "audit", shop, "--page", page)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("shop, training events of leave-one-out")
    assert "4 features" in done.out
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    again = fuserec("features", "audit", shop, "--page", page)
    assert (again.code, again.out) == (1, "")
    assert f"error: expected a new file, but {page} exists" in again.err
    assert fuserec("features", "audit", shop, "--page", page, "--overwrite").code == 0
    told = fuserec("features", "audit", shop, "--json", "--seed", 4).json
    assert (told["seed"], told["modalities"][0]["modality"], told["run"]) == (4, "text", None)


def test_audit_of_a_run_prints_a_second_table(fuserec: RunCommand, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('[model]\nname = "content_knn"\n')
    run = tmp_path / "run"
    assert fuserec("train", tmp_path / "recipe.toml", "--data", shop, "--out", run, "--quiet").code == 0
    done = fuserec("features", "audit", shop, "--run", run, "--quiet")
    assert (done.code, done.err) == (0, "")
    assert "(reproduced)" in done.out
    assert [word in done.out for word in ("left out", "zeroed", "shuffled")] == [True] * 3


def test_a_wrong_use_is_told_in_a_line(fuserec: RunCommand, shop: Path, tmp_path: Path) -> None:
    done = fuserec("features", "audit", shop, "--images", tmp_path)
    assert done.code == 2
    assert "give --page with it" in done.err
    done = fuserec("features", "audit", shop, "--split", "nothing")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: no split 'nothing'")
    assert done.err.count("\n") == 1
