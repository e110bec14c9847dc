"""Training where torch, numpy and safetensors are and nothing else of ours, not even fuserec itself, is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fuserec
from fuserec.data.build import Sources, build
from fuserec.testing.corpora import tiny_prepared
from fuserec.training.__main__ import main
from fuserec.training.checkpoint import Run
from fuserec.training.config import load_recipe
from fuserec.training.prepared import save_prepared
from fuserec.training.snapshots import saved_epoch

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "bare-machine.md"
ABSENT = ("fuserec", "polars", "pydantic", "typer", "rich", "PIL", "jaxtyping", "beartype")
RECIPE = """
name = "bare"
[model]
name = "lightgcn"
dim = 4
[train]
epochs = 2
batch_size = 64
[loss_weights]
bpr = 1.0
l2 = 1e-4
"""
SEQUENCES = """
name = "sequences"
[model]
name = "sasrec"
dim = 8
num_layers = 1
[train]
epochs = 2
batch_size = 64
weight_decay = 0.01
warmup_steps = 2
schedule = "cosine"
[loss_weights]
softmax = 1.0
[evaluation]
history = "train+valid"
"""

Python = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Python:
    """Runs Python on a machine without what is ABSENT: a folder of links to everything else."""
    machine = tmp_path_factory.mktemp("machine")
    torch = importlib.util.find_spec("torch")
    assert torch is not None
    assert torch.origin is not None
    for entry in Path(torch.origin).parents[1].iterdir():
        name = re.split(r"[-.]", entry.name)[0]
        if name not in ABSENT and not entry.name.endswith(".pth"):
            (machine / entry.name).symlink_to(entry)
    code = tmp_path_factory.mktemp("code")
    shutil.copytree(Path(fuserec.__file__).parent, code / "fuserec")
    environment = os.environ | {"PYTHONPATH": f"{code}{os.pathsep}{machine}", "OMP_NUM_THREADS": "1"}

    def start(*arguments: object) -> subprocess.Popen[str]:
        # -S: no site-packages
        command = [sys.executable, "-S", *map(str, arguments)]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return start


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recipe and a prepared dataset."""
    (tmp_path / "recipe.toml").write_text(RECIPE)
    save_prepared(tiny_prepared(), tmp_path / "tiny.npz")
    return tmp_path


def command(folder: Path, *more: str) -> list[str]:
    recipe, prepared, out = (str(folder / name) for name in ("recipe.toml", "tiny.npz", "run"))
    return [recipe, "--prepared", prepared, "--out", out, *more]


# --- a machine of its own


def test_a_bare_machine_is_bare(python: Python) -> None:
    tries = "\n".join(
        f"try: import {name}; print('{name}')\nexcept ImportError: pass"
        for name in ABSENT
        if name != "fuserec"
    )
    done = python(
        "-c", f"{tries}\nimport fuserec\ntry: fuserec.__version__\nexcept Exception as e: print(type(e))"
    )
    assert (
        done.communicate(timeout=120)[0].split("\n")[0] == "<class 'importlib.metadata.PackageNotFoundError'>"
    )


def test_it_trains_and_prints_its_metrics_as_json(python: Python, folder: Path) -> None:
    started = python("-m", "fuserec.training", *command(folder))
    out, err = started.communicate(timeout=300)
    assert started.returncode == 0, err
    run = Run.open(folder / "run")
    assert json.loads(out) == run.metrics
    assert run.metrics.keys() == {"valid"}
    assert [line.partition(":")[0] for line in err.splitlines()] == ["epoch 1", "epoch 2"]
    assert run.provenance["machine"]["fuserec"] == "not installed"
    assert (run.path / "recipe.toml").read_text() == RECIPE
    assert run.scorer().num_items == 30


def test_a_model_of_sequences_trains_there_too(python: Python, folder: Path) -> None:
    (folder / "recipe.toml").write_text(SEQUENCES)
    started = python("-m", "fuserec.training", *command(folder, "--test"))
    out, err = started.communicate(timeout=300)
    assert started.returncode == 0, err
    assert json.loads(out)["test"]["protocol"]["history"] == "train+valid"
    assert Run.open(folder / "run").scorer().kind == "sequence"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_the_state_and_says_how_to_go_on(
    python: Python, folder: Path, number: signal.Signals
) -> None:
    endless = ("--set", "train.epochs=1000000", "--set", "train.patience=1000000")
    started = python("-m", "fuserec.training", *command(folder, *endless))
    assert started.stderr is not None
    assert started.stderr.readline().startswith("epoch 1:")
    started.send_signal(number)
    out, err = started.communicate(timeout=120)
    assert (started.returncode, out) == (130, "")
    last = r"interrupted: saved after epoch (\d+); add --resume to go on from there"
    assert (told := re.fullmatch(last, err.splitlines()[-1]))
    assert "Traceback" not in err
    assert sorted(path.name for path in folder.iterdir()) == [".run.partial", "recipe.toml", "tiny.npz"]
    assert saved_epoch(folder / ".run.partial" / "state.safetensors") == int(told[1])


# --- the same command in this process


def test_a_seed_a_setting_and_the_test_part(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(folder, "--seed", "3", "--set", "model.dim=2", "--test")) == 0
    run = Run.open(folder / "run")
    assert (run.recipe.seed, run.recipe.model.dim) == (3, 2)
    printed = json.loads(capsys.readouterr().out)
    assert printed == run.metrics
    assert printed.keys() == {"valid", "test"}


def test_it_gives_the_numbers_that_the_library_gives(folder: Path) -> None:
    from fuserec.training.run import fit

    assert main(command(folder)) == 0
    fitted = fit(load_recipe(folder / "recipe.toml"), tiny_prepared())
    assert [record["losses"] for record in Run.open(folder / "run").log] == [
        record.losses for record in fitted.log
    ]


def break_recipe(folder: Path) -> None:
    (folder / "recipe.toml").write_text(RECIPE.replace("epochs", "epoch"))


def break_prepared(folder: Path) -> None:
    (folder / "tiny.npz").write_bytes(b"junk")


def no_recipe(folder: Path) -> None:
    (folder / "recipe.toml").unlink()


def a_run_there(folder: Path) -> None:
    (folder / "run").mkdir()


def no_loss_weight(folder: Path) -> None:
    (folder / "recipe.toml").write_text(RECIPE.replace("l2 = 1e-4", ""))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (break_recipe, r"error: .*recipe\.toml: unknown key 'epoch' in \[train\]; did you mean 'epochs'\?"),
        (no_recipe, r"error: expected a recipe, but .*recipe\.toml does not exist"),
        (break_prepared, r"error: expected named arrays in .*tiny\.npz, got: .*"),
        (a_run_there, r"error: expected a new folder, but .*run exists; choose another or pass --overwrite"),
        (no_loss_weight, r"error: expected a weight for the loss 'l2' in \[loss_weights\], got none"),
    ],
)
def test_what_is_wrong_is_one_line_and_status_1(
    folder: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None], message: str
) -> None:
    spoil(folder)
    before = sorted(path.name for path in folder.iterdir())
    assert main(command(folder)) == 1
    written = capsys.readouterr()
    assert written.out == ""
    assert re.fullmatch(message + "\n", written.err)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_run_is_overwritten_when_asked(folder: Path) -> None:
    assert main(command(folder)) == 0
    assert main(command(folder, "--seed", "1", "--overwrite")) == 0
    assert Run.open(folder / "run").recipe.seed == 1


def test_a_wrong_use_is_status_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(folder / "recipe.toml")])
    assert ended.value.code == 2
    assert "--prepared" in capsys.readouterr().err


# --- the page


def test_the_page_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    options = set(re.findall(r"--[a-z]+", capsys.readouterr().out)) - {"--help"}
    table = {
        re.findall("--[a-z]+", line)[0] for line in PAGE.read_text().splitlines() if line.startswith("| `")
    }
    assert table == options


def test_the_page_goes_all_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = tiny_prepared()
    parts = [prepared.corpus.train, prepared.valid, prepared.test]
    events = [
        f"u{user},i{item},{time}"
        for time, (user, item) in enumerate(
            pair for part in parts for pair in zip(part.users.tolist(), part.items.tolist(), strict=True)
        )
    ]
    (tmp_path / "events.csv").write_text("\n".join(["user,item,time", *events]))
    build(tmp_path / "data" / "shop", Sources(events=tmp_path / "events.csv"))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    page = PAGE.read_text(encoding="utf-8")
    there, back = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    exec(there, {})
    (line,) = re.findall(r"python -m fuserec\.training (.*)", page)
    assert main(shlex.split(line)) == 0
    names: dict[str, Any] = {}
    exec(back, names)
    recommended = names["recommender"].recommend(users=["u0"], k=3)
    assert recommended["user_id"].to_list() == ["u0"] * 3
