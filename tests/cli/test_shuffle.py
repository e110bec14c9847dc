from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fuserec.testing.commands import RunCommand


@pytest.fixture
def shop(fuserec: RunCommand, tmp_path: Path) -> Path:
    (tmp_path / "events.csv").write_text(
        "user,item\n" + "".join(f"u,{item}\nv,{item}\n" for item in range(9))
    )
    (tmp_path / "items.csv").write_text("item\n" + "".join(f"{item}\n" for item in range(9)))
    np.save(tmp_path / "text.npy", np.arange(1, 19, dtype=np.float32).reshape(9, 2))
    files = ["--events", tmp_path / "events.csv", "--items", tmp_path / "items.csv"]
    done = fuserec("data", "build", tmp_path / "shop", *files, "--features", f"text={tmp_path / 'text.npy'}")
    assert done.code == 0, done.err
    return tmp_path / "shop"


def test_shuffle_describes_the_new_dataset_and_show_says_the_same(
    fuserec: RunCommand, shop: Path, tmp_path: Path
) -> None:
    done = fuserec("data", "shuffle", shop, tmp_path / "new", "--seed", 3)
    assert (done.code, done.err) == (0, "")
    assert "**Shuffled: features and graphs dealt anew among the items (seed 3), as a control.**" in done.out
    assert fuserec("data", "show", tmp_path / "new").out == done.out
    assert fuserec("data", "show", tmp_path / "new", "--json").json["shuffle_seed"] == 3
    assert fuserec("data", "shuffle", shop, tmp_path / "new").code == 1
    again = fuserec("data", "shuffle", shop, tmp_path / "new", "--overwrite", "--json")
    assert (again.json["shuffle_seed"], len(again.json["parent"])) == (0, 64)


def test_a_dataset_without_content_is_refused_in_one_line(fuserec: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("user,item\na,1\na,2\nb,1\n")
    assert fuserec("data", "build", tmp_path / "bare", "--events", tmp_path / "events.csv").code == 0
    done = fuserec("data", "shuffle", tmp_path / "bare", tmp_path / "new")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        f"error: expected a dataset with features or graphs to shuffle, but {tmp_path / 'bare'} has none; "
        "build it with --features or --graph\n"
    )
