from __future__ import annotations

from pathlib import Path

import pytest

from fuserec.cli import main

POPULARITY = 'name = "popularity"\n[model]\nname = "popularity"\n'
LIGHTGCN = """
name = "lightgcn"
[model]
name = "lightgcn"
dim = 8
[train]
epochs = 3
batch_size = 64
[loss_weights]
bpr = 1.0
l2 = 1e-4
[evaluation]
cutoffs = [2, 20]
"""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny shop made by the command line: raw files, two recipes, a dataset, two runs. Tests only read it."""
    folder = tmp_path_factory.mktemp("shop")
    write_raw_files(folder)
    (folder / "popularity.toml").write_text(POPULARITY)
    (folder / "lightgcn.toml").write_text(LIGHTGCN)
    command(
        "data", "build", folder / "data", "--events", folder / "events.csv", "--items", folder / "items.csv"
    )
    for name in ("popularity", "lightgcn"):
        recipe, run = folder / f"{name}.toml", folder / "runs" / name
        command(
            "train", recipe, "--data", folder / "data", "--out", run, "--set", "evaluation.cutoffs=[2, 20]"
        )
    return folder


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The same without runs, for a test to spoil."""
    write_raw_files(tmp_path)
    (tmp_path / "popularity.toml").write_text(POPULARITY)
    (tmp_path / "lightgcn.toml").write_text(LIGHTGCN)
    command(
        "data",
        "build",
        tmp_path / "data",
        "--events",
        tmp_path / "events.csv",
        "--items",
        tmp_path / "items.csv",
    )
    return tmp_path


def command(*arguments: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code == 0


def write_raw_files(folder: Path, *, step: int = 1) -> None:
    """24 users have 5 of 12 items each; those of even number like even items. Item i12 nobody had."""
    lines = ["user,item,time"]
    for user in range(24):
        for place in range(5):
            item = (2 * (user // 2 + place * step) + user % 2) % 12
            lines.append(f"u{user},i{item},{1_600_000_000 + 86_400 * place + user}")
    (folder / "events.csv").write_text("\n".join(lines) + "\n")
    rows = [f"i{item},Thing {item},{'even' if item % 2 == 0 else 'odd'}" for item in range(13)]
    (folder / "items.csv").write_text("\n".join(["item,title,category", *rows]) + "\n")
