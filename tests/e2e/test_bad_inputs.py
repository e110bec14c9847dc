"""What goes wrong is one clear line and a non-zero exit, and leaves nothing half-written."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuserec.testing.commands import Outcome, RunCommand


def one_line(outcome: Outcome, *parts: str) -> None:
    """The outcome is one line on stderr that holds these parts, exit code 1, and nothing on stdout."""
    assert (outcome.code, outcome.out) == (1, "")
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: ")
    for part in parts:
        assert part in line


def test_an_existing_run_folder_is_refused_before_training(
    fuserec: RunCommand, made: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "mine").write_text("kept")
    outcome = fuserec("train", made / "lightgcn.toml", "--data", made / "data", "--out", run)
    one_line(outcome, f"{run} exists; choose another or pass --overwrite")
    assert (run / "mine").read_text() == "kept"


def test_overwrite_replaces_a_run(fuserec: RunCommand, made: Path, tmp_path: Path) -> None:
    arguments = ("train", made / "popularity.toml", "--data", made / "data", "--out", tmp_path / "run")
    assert fuserec(*arguments).code == 0
    assert fuserec(*arguments).code == 1
    assert fuserec(*arguments, "--overwrite").code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("command", ["evaluate", "recommend"])
def test_a_dataset_whose_bytes_changed_after_training_is_refused(
    fuserec: RunCommand, shop: Path, command: str
) -> None:
    fuserec("train", shop / "popularity.toml", "--data", shop / "data", "--out", shop / "run")
    items = shop / "data" / "items.parquet"
    content = bytearray(items.read_bytes())
    content[len(content) // 2] ^= 1
    items.write_bytes(bytes(content))
    more = ["--user", "u1"] if command == "recommend" else []
    one_line(fuserec(command, shop / "run", *more), str(items), "changed or removed afterwards")


@pytest.mark.parametrize("command", ["evaluate", "recommend"])
def test_another_dataset_in_the_same_place_is_refused(fuserec: RunCommand, shop: Path, command: str) -> None:
    fuserec("train", shop / "popularity.toml", "--data", shop / "data", "--out", shop / "run")
    lines = (shop / "events.csv").read_text().splitlines()
    (shop / "events.csv").write_text("\n".join(lines[:-1]) + "\n")
    fuserec("data", "build", shop / "data", "--events", shop / "events.csv", "--overwrite")
    more = ["--user", "u1"] if command == "recommend" else []
    one_line(fuserec(command, shop / "run", *more), "trained on")


def test_a_missing_dataset_and_a_missing_run_are_named(
    fuserec: RunCommand, made: Path, tmp_path: Path
) -> None:
    nowhere = tmp_path / "nowhere"
    train = fuserec("train", made / "popularity.toml", "--data", nowhere, "--out", tmp_path / "run")
    one_line(train, f"{nowhere} does not exist")
    one_line(fuserec("evaluate", nowhere), f"{nowhere} does not exist")
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_that_cannot_be_used_is_told(fuserec: RunCommand, made: Path, tmp_path: Path) -> None:
    data = ("--data", made / "data", "--out", tmp_path / "run")
    one_line(fuserec("train", "lightgcm", *data), "expected a recipe file or name, got 'lightgcm'")
    mistyped = fuserec("train", made / "lightgcn.toml", *data, "--set", "train.epoch=2")
    one_line(mistyped, "unknown key 'epoch' in [train]; did you mean 'epochs'?")
    (tmp_path / "junk.toml").write_bytes(bytes(range(256)))
    one_line(fuserec("train", tmp_path / "junk.toml", *data), "expected a recipe in TOML", "junk.toml")


def test_a_loss_that_is_not_finite_names_the_term_and_the_step(
    fuserec: RunCommand, made: Path, tmp_path: Path
) -> None:
    options = ("--data", made / "data", "--out", tmp_path / "run", "--quiet")
    outcome = fuserec("train", made / "lightgcn.toml", *options, "--set", "train.learning_rate=1e38")
    one_line(outcome, "loss ", " at step ")
    assert list(tmp_path.iterdir()) == []


def test_unknown_users_are_named(fuserec: RunCommand, made: Path) -> None:
    outcome = fuserec("recommend", made / "runs/lightgcn", "--user", "u1", "--user", "nobody")
    one_line(outcome, "got 1 unknown: 'nobody'")


def test_an_output_file_that_exists_is_refused_before_the_work(
    fuserec: RunCommand, made: Path, tmp_path: Path
) -> None:
    out = tmp_path / "all.csv"
    out.write_text("mine")
    one_line(fuserec("recommend", made / "runs/lightgcn", "--all-users", "--out", out), "exists")
    assert out.read_text() == "mine"


@pytest.mark.parametrize("who", [[], ["--user", "u1", "--all-users"], ["--history", "i1", "--user", "u1"]])
def test_asking_for_no_one_or_for_two_kinds_is_wrong_use(
    fuserec: RunCommand, made: Path, who: list[str]
) -> None:
    outcome = fuserec("recommend", made / "runs/lightgcn", *who)
    assert outcome.code == 2
    assert "give one of --user, --history, --users, --all-users" in outcome.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_no_run_folder_and_says_how_to_go_on(
    fuserec: RunCommand, made: Path, tmp_path: Path, number: signal.Signals
) -> None:
    endless = ("--set", "train.epochs=1000000", "--set", "train.patience=1000000")
    arguments = [
        "train",
        str(made / "lightgcn.toml"),
        "--data",
        str(made / "data"),
        "--out",
        str(tmp_path / "run"),
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "fuserec", *arguments, *endless],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("epoch 1: loss")
        assert sorted(path.name for path in tmp_path.iterdir()) == [".run.lock", ".run.partial"]
        process.send_signal(number)
        _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.fullmatch(
        r"interrupted: saved after epoch \d+; add --resume to go on from there", rest.splitlines()[-1]
    )
    assert "Traceback" not in rest
    assert [path.name for path in tmp_path.iterdir()] == [".run.partial"]
    one_line(fuserec(*arguments, *endless), "; add --resume to continue, or --overwrite to start again")
    one_line(fuserec(*arguments, "--resume"), "expected the interrupted run of recipe_hash")
    assert fuserec(*arguments, "--overwrite").code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_cannot_be_written_is_told(fuserec: RunCommand, made: Path) -> None:
    # /proc refuses even the superuser, as whom tests may run.
    outcome = fuserec("train", made / "popularity.toml", "--data", made / "data", "--out", "/proc/run")
    one_line(outcome, "cannot write in /proc")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not let a test mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_told_and_leaves_nothing(fuserec: RunCommand, made: Path, small_disk: Path) -> None:
    outcome = fuserec(
        "train", made / "lightgcn.toml", "--data", made / "data", "--out", small_disk / "run", "--quiet"
    )
    one_line(outcome, "could not write", "No space left on device")
    assert list(small_disk.iterdir()) == []


def test_a_file_that_may_not_grow_is_told_and_leaves_nothing(made: Path, tmp_path: Path) -> None:
    # A limit on the size of files stops a write in the middle, as a full disk does, on any machine.
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))

    arguments = [
        "train",
        str(made / "popularity.toml"),
        "--data",
        str(made / "data"),
        "--out",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(
        [sys.executable, "-B", "-m", "fuserec", *arguments],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    one_line(Outcome(done.returncode, done.stdout, done.stderr), "could not write", "File too large")
    assert list(tmp_path.iterdir()) == []
