"""A training that is killed, however and whenever, ends with the bits of one that was not."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from fuserec.batch import Prepared
from fuserec.errors import CheckpointError, ConfigError, TrainingError
from fuserec.models.registry import GRADIENT_MODELS
from fuserec.testing.corpora import tiny_prepared
from fuserec.training.checkpoint import Run
from fuserec.training.config import Recipe
from fuserec.training.lock import exclusive
from fuserec.training.place import state_of
from fuserec.training.prepared import save_prepared
from fuserec.training.progress import Silent
from fuserec.training.run import train
from fuserec.training.snapshots import saved_epoch

PREPARED = tiny_prepared(ready_graph=("image",))
TITLED = tiny_prepared(ready_graph=("image",), titled=True)
RECIPE = """
name = "{name}"
[model]
name = "{name}"
dim = 4
[train]
epochs = 5
batch_size = 32
learning_rate = 0.02
patience = 3
device = "cpu"
[loss_weights]
{weights}
[evaluation]
cutoffs = [5, 20]
"""
WEIGHTS = {"lightgcn": "bpr = 1.0\nl2 = 1e-4", "tmfun": "bpr = 1.0\ncontrastive = 0.03\nl2 = 1e-4"}
STEPS = 8
"""An epoch of the tiny corpus has so many."""

RecipeOf = Callable[..., Recipe]
Trains = Callable[..., dict[str, Any]]


class Stops(Silent):
    """Stops after an epoch has been told."""

    def __init__(self, epochs: int, error: BaseException | None = None) -> None:
        self.epochs, self.error = epochs, error or KeyboardInterrupt()

    def note(self, text: str) -> None:
        self.epochs -= text.startswith("epoch ")
        if self.epochs == 0:
            raise self.error


class Told(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recipes and a prepared dataset."""
    made = tmp_path_factory.mktemp("killed")
    for name, weights in WEIGHTS.items():
        (made / f"{name}.toml").write_text(RECIPE.format(name=name, weights=weights))
    save_prepared(PREPARED, made / "tiny.npz")
    return made


@pytest.fixture(scope="module")
def trains(folder: Path) -> Iterator[Trains]:
    """Trains in a process that may be told where to die; the state is saved after every epoch."""
    script = Path(__file__).with_name("killed.py")
    command = [sys.executable, str(script), str(folder / "tiny.npz")]
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as started:
        assert started.stdin
        assert started.stdout

        def run(
            name: str, out: Path, *, die: dict[str, int] | None = None, threads: int = 1, **options: Any
        ) -> dict[str, Any]:
            job = {
                "recipe": str(folder / f"{name}.toml"),
                "out": str(out),
                "die": die or {},
                "threads": threads,
                "options": {"save_every": 0.0} | options,
            }
            assert started.stdin
            assert started.stdout
            started.stdin.write(json.dumps(job) + "\n")
            started.stdin.flush()
            answer: dict[str, Any] = json.loads(started.stdout.readline())
            return answer

        yield run


@pytest.fixture(scope="module")
def whole(trains: Trains, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """What each model comes to when nothing interrupts it."""
    made = tmp_path_factory.mktemp("whole")
    for name in WEIGHTS:
        assert trains(name, made / name)["code"] == 0
    return {name: bits(made / name) for name in WEIGHTS}


def bits(out: Path) -> dict[str, object]:
    """All that a run learnt and measured, but for times."""
    run = Run.open(out)
    found: dict[str, object] = {path.name: path.read_bytes() for path in out.glob("*.safetensors")}
    assert found.keys() == {"scorer.safetensors", "model.safetensors"}
    log = [(record["epoch"], record["losses"], record["validation"]) for record in run.log]
    return found | {"log": log, "metrics": run.metrics}


def interrupted(recipe: Recipe, out: Path, *, prepared: Prepared = PREPARED, epochs: int = 1) -> Path:
    with pytest.raises(KeyboardInterrupt):
        train(recipe, prepared, out, progress=Stops(epochs))
    assert saved_epoch(state_of(out)) == epochs
    return out


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- kill -9


def test_the_whole_run_is_long_enough_to_be_interrupted(whole: dict[str, dict[str, Any]]) -> None:
    for found in whole.values():
        assert len(found["log"]) == 5
    assert whole["lightgcn"]["log"] != whole["tmfun"]["log"]


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("step", [3, STEPS, 2 * STEPS + 4])
def test_a_kill_in_the_middle_of_an_epoch_changes_no_bit(
    trains: Trains, whole: dict[str, dict[str, object]], tmp_path: Path, name: str, step: int
) -> None:
    out = tmp_path / "run"
    assert trains(name, out, die={"step": step})["code"] == -9
    epoch = (step - 1) // STEPS
    assert not out.exists()
    assert saved_epoch(state_of(out)) == (epoch or None)
    outcome = trains(name, out, resume=True)
    assert outcome["code"] == 0
    expected = f"resuming after epoch {epoch}" if epoch else "nothing to resume at"
    assert outcome["err"].startswith(expected)
    assert bits(out) == whole[name]
    assert names_in(tmp_path) == ["run"]


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_training_killed_again_and_again_comes_to_the_same(
    trains: Trains, whole: dict[str, dict[str, object]], tmp_path: Path, name: str
) -> None:
    out = tmp_path / "run"
    attempts = 0
    while trains(name, out, die={"step": STEPS + 5}, resume=True)["code"] == -9:
        attempts += 1
        assert saved_epoch(state_of(out)) == attempts
    assert attempts >= 3
    assert bits(out) == whole[name]
    assert len(list(tmp_path.iterdir())) == 1


RENAMINGS = 5 + 8 + 1
"""So many files are renamed: the state of each epoch, the files of the run folder, the folder itself."""


@pytest.mark.parametrize(
    ("when", "numbers"),
    [
        ("replace", range(1, RENAMINGS + 1)),
        ("replaced", (1, RENAMINGS)),
        ("write", (1, 2, RENAMINGS - 1)),
    ],
)
def test_a_kill_around_every_renaming_leaves_what_can_be_resumed(
    trains: Trains, whole: dict[str, dict[str, object]], tmp_path: Path, when: str, numbers: Sequence[int]
) -> None:
    for number in numbers:
        out = tmp_path / str(number) / "run"
        assert trains("lightgcn", out, die={when: number})["code"] == -9, number
        if out.exists():
            assert (when, number) == ("replaced", RENAMINGS)
        else:
            assert trains("lightgcn", out, resume=True)["code"] == 0
            assert names_in(out.parent) == ["run"]
        assert bits(out) == whole["lightgcn"], number
    assert trains("lightgcn", tmp_path / "last" / "run", die={when: RENAMINGS + 1})["code"] == 0


@pytest.mark.parametrize("when", ["replace", "replaced"])
def test_a_kill_while_a_run_is_replaced_loses_neither(
    trains: Trains, whole: dict[str, dict[str, object]], tmp_path: Path, when: str
) -> None:
    for number in (RENAMINGS, RENAMINGS + 1):  # the old folder steps aside, the new one takes its place
        out = tmp_path / str(number) / "run"
        assert trains("tmfun", out)["code"] == 0
        assert trains("lightgcn", out, die={when: number}, overwrite=True)["code"] == -9
        outcome = trains("lightgcn", out, resume=True, overwrite=True)
        assert outcome["code"] == 0, outcome
        assert bits(out) == whole["lightgcn"]
        assert names_in(out.parent) == ["run"]


def test_a_replaced_run_comes_back_when_the_new_one_is_not_wanted(trains: Trains, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert trains("tmfun", out)["code"] == 0
    before = bits(out)
    assert trains("lightgcn", out, die={"replaced": RENAMINGS}, overwrite=True)["code"] == -9
    assert not out.exists(), "this is the moment between the two renamings"
    assert "exists; choose another or pass --overwrite" in trains("lightgcn", out, resume=True)["err"]
    assert bits(out) == before


# --- every model, in this process


@pytest.mark.parametrize("name", sorted(GRADIENT_MODELS))
@pytest.mark.parametrize("epochs", [1, 2])
def test_every_model_resumes_to_the_same_bits(
    tmp_path: Path, recipe_of: RecipeOf, name: str, epochs: int
) -> None:
    recipe = recipe_of(name)
    train(recipe, TITLED, tmp_path / "whole")
    interrupted(recipe, tmp_path / "run", prepared=TITLED, epochs=epochs)
    with torch.random.fork_rng():
        torch.manual_seed(epochs)
        train(recipe, TITLED, tmp_path / "run", resume=True)
    assert bits(tmp_path / "run") == bits(tmp_path / "whole")


def test_patience_goes_on_where_it_was(tmp_path: Path, recipe_of: RecipeOf) -> None:
    recipe = recipe_of("lightgcn", epochs=60, patience=2, learning_rate=0.5)
    train(recipe, PREPARED, tmp_path / "whole")
    last = len(Run.open(tmp_path / "whole").log)
    assert 3 <= last < 60
    for epochs in (last - 1, last):
        interrupted(recipe, tmp_path / "run", epochs=epochs)
        train(recipe, PREPARED, tmp_path / "run", resume=True, overwrite=True)
        assert bits(tmp_path / "run") == bits(tmp_path / "whole")
        train(recipe_of("popularity"), PREPARED, tmp_path / "run", overwrite=True)
        (tmp_path / "run").rename(tmp_path / f"done-{epochs}")


def test_the_time_of_the_interrupted_part_counts(tmp_path: Path, recipe_of: RecipeOf) -> None:
    class Slow(Stops):
        def start(self, total: int, description: str) -> None:
            import time

            time.sleep(0.4)

    recipe = recipe_of("lightgcn")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, PREPARED, tmp_path / "run", progress=Slow(2))
    run = train(recipe, PREPARED, tmp_path / "run", resume=True)
    assert run.provenance["fit_seconds"] > 0.8


# --- what is told and what is refused


def test_an_interrupted_run_is_neither_continued_nor_thrown_away_unasked(
    tmp_path: Path, recipe_of: RecipeOf
) -> None:
    out = interrupted(recipe_of("lightgcn"), tmp_path / "run", epochs=2)
    before = state_of(out).read_bytes()
    with pytest.raises(
        ConfigError,
        match=r"^found an interrupted run at epoch 2 of .*run; add --resume to continue, or --overwrite to start again$",
    ):
        train(recipe_of("lightgcn"), PREPARED, out)
    assert state_of(out).read_bytes() == before
    told = Told()
    train(recipe_of("lightgcn"), PREPARED, out, overwrite=True, progress=told)
    assert told.notes[0].startswith("epoch 1: ")
    assert names_in(tmp_path) == ["run"]


def test_nothing_to_resume_is_told(tmp_path: Path, recipe_of: RecipeOf) -> None:
    told = Told()
    train(recipe_of("popularity"), PREPARED, tmp_path / "run", resume=True, progress=told)
    assert told.notes == [f"nothing to resume at {tmp_path / 'run'}; starting from the beginning"]


def test_ctrl_c_says_what_was_saved(tmp_path: Path, recipe_of: RecipeOf) -> None:
    with pytest.raises(KeyboardInterrupt, match=r"^saved after epoch 1$"):
        train(recipe_of("lightgcn"), PREPARED, tmp_path / "run", progress=Stops(1))


@pytest.mark.parametrize("changed", ["recipe", "seed", "dataset", "split"])
def test_the_state_of_another_training_is_refused(tmp_path: Path, recipe_of: RecipeOf, changed: str) -> None:
    out = interrupted(recipe_of("lightgcn"), tmp_path / "run")
    before = state_of(out).read_bytes()
    recipe, prepared = recipe_of("lightgcn"), PREPARED
    if changed == "recipe":
        recipe = recipe_of("lightgcn", learning_rate=0.01)
    elif changed == "seed":
        recipe = recipe_of("lightgcn", seed=3)
    else:
        hashes: dict[str, Any] = {f"{changed}_hash": "0" * 64}
        prepared = dataclasses.replace(prepared, **hashes)
    with pytest.raises(
        CheckpointError,
        match=rf"expected the interrupted run of {changed}\w* \w+ in .*, got that of \w+; give",
    ):
        train(recipe, prepared, out, resume=True)
    assert state_of(out).read_bytes() == before


def test_other_conditions_are_told_in_one_line_and_training_goes_on(trains: Trains, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert trains("lightgcn", out, die={"step": 12}, threads=1)["code"] == -9
    outcome = trains("lightgcn", out, resume=True, threads=2)
    assert outcome["code"] == 0
    lines = outcome["err"].splitlines()
    assert lines[0] == (
        "resuming under other conditions: threads 1 is now 2; the outcome may differ from that of an uninterrupted run"
    )
    assert lines[1] == "resuming after epoch 1"


def test_the_same_conditions_are_not_told(
    tmp_path: Path, recipe_of: RecipeOf, caplog: pytest.LogCaptureFixture
) -> None:
    train(recipe_of("lightgcn"), PREPARED, interrupted(recipe_of("lightgcn"), tmp_path / "run"), resume=True)
    assert caplog.records == []


def test_what_decides_the_last_bits_is_kept_with_the_state(tmp_path: Path, recipe_of: RecipeOf) -> None:
    from safetensors import safe_open

    out = interrupted(recipe_of("lightgcn"), tmp_path / "run")
    with safe_open(state_of(out), framework="pt") as file:
        about = json.loads(file.metadata()["state"])
    machine = about["machine"]
    assert machine["threads"] == torch.get_num_threads()
    assert machine["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert machine["torch"] == str(torch.__version__)
    assert machine["keeps freed memory"] in (True, False)
    assert {"commit", "numpy", "python", "device"} <= machine.keys()


@pytest.mark.parametrize("content", [b"", b"junk", b"\x02\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_broken_state_is_one_line_and_can_be_thrown_away(
    tmp_path: Path, recipe_of: RecipeOf, content: bytes
) -> None:
    out = interrupted(recipe_of("lightgcn"), tmp_path / "run")
    state_of(out).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"expected .*state.*; start again with --overwrite"):
        train(recipe_of("lightgcn"), PREPARED, out, resume=True)
    train(recipe_of("lightgcn"), PREPARED, out, overwrite=True)
    assert names_in(tmp_path) == ["run"]


def test_a_training_that_fails_leaves_no_state_to_fail_from_again(
    tmp_path: Path, recipe_of: RecipeOf
) -> None:
    with pytest.raises(TrainingError):
        train(recipe_of("lightgcn"), PREPARED, tmp_path / "run", progress=Stops(2, TrainingError("nan")))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_the_state_is_told_and_training_goes_on(
    tmp_path: Path, recipe_of: RecipeOf, caplog: pytest.LogCaptureFixture
) -> None:
    class Blocks(Silent):
        def start(self, total: int, description: str) -> None:
            if description == "epoch 1":
                state_of(tmp_path / "run").mkdir()

        def note(self, text: str) -> None:
            if text.startswith("epoch 2"):
                state_of(tmp_path / "run").rmdir()

    run = train(recipe_of("lightgcn"), PREPARED, tmp_path / "run", save_every=0.0, progress=Blocks())
    assert len(run.log) == 3
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "could not save the state of training: " in caplog.messages[0]


# --- one process at a time


def test_a_second_training_into_one_place_is_refused_at_once(tmp_path: Path, recipe_of: RecipeOf) -> None:
    class Second(Silent):
        def start(self, total: int, description: str) -> None:
            with pytest.raises(
                ConfigError,
                match=rf"^expected to be the only one to train into .*run, but process {os.getpid()} does; wait",
            ):
                train(recipe_of("popularity"), PREPARED, tmp_path / "run")
            with pytest.raises(ConfigError, match="expected to be the only one"):
                train(recipe_of("popularity"), PREPARED, tmp_path / "run", overwrite=True)
            self.refused = True

    second = Second()
    train(recipe_of("lightgcn"), PREPARED, tmp_path / "run", progress=second)
    assert second.refused
    assert names_in(tmp_path) == ["run"]


def test_the_lock_of_a_dead_process_locks_nothing(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text("1")
    with exclusive(lock, task="try"):
        assert lock.read_text() == str(os.getpid())
        with pytest.raises(ConfigError, match="only one to try"), exclusive(lock, task="try"):
            pass
        assert lock.exists(), "the refused one leaves it to its holder"
    assert not lock.exists()
