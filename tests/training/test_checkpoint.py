from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from fuserec.errors import CheckpointError
from fuserec.models.popularity import PopularityScorer
from fuserec.models.registry import SCORERS
from fuserec.models.sequence_scorer import SequenceScorer
from fuserec.nn.encoder import Encoder
from fuserec.testing.corpora import tiny_prepared
from fuserec.training.checkpoint import Run, save_scorer, save_tensors
from fuserec.training.config import Recipe
from fuserec.training.run import train

RecipeOf = Callable[..., Recipe]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, recipe_of: RecipeOf) -> Path:
    """A run folder of LightGCN; not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "run"
    train(recipe_of("lightgcn"), tiny_prepared(), out)
    return out


@pytest.fixture
def run_folder(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to be broken."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def test_tensors_come_back_with_their_metadata_also_views_and_columns(tmp_path: Path) -> None:
    tensors = {
        "view": torch.arange(12).view(3, 4)[:, 1:3],
        "column": torch.rand(3, 4).T,
        "trained": torch.nn.Parameter(torch.rand(2)),
        "flag": torch.tensor([True, False]),
        "none": torch.zeros(0, 5),
    }
    save_tensors(tmp_path / "t.safetensors", tensors, {"kind": "x"})
    again = load_file(tmp_path / "t.safetensors")
    assert again.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(again[name], tensor)
        assert again[name].dtype == tensor.dtype
    with safe_open(tmp_path / "t.safetensors", framework="pt") as opened:
        assert opened.metadata() == {"kind": "x"}


def test_a_scorer_is_found_again_by_its_kind(run_folder: Path) -> None:
    save_scorer(run_folder / "scorer.safetensors", PopularityScorer(torch.tensor([1.0, 3.0])))
    again = Run.open(run_folder).scorer()
    assert isinstance(again, PopularityScorer)
    assert again.counts.tolist() == [1.0, 3.0]


def test_a_missing_folder_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError,
        match=r"^expected a run folder, but .*/no does not exist; make one with 'fuserec train'$",
    ):
        Run.open(tmp_path / "no")


def test_a_file_in_the_place_of_a_run_is_told(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("")
    with pytest.raises(CheckpointError, match=r"^expected a run folder, but .*/recipe\.toml is a file; make"):
        Run.open(tmp_path / "recipe.toml")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError,
        match=r"is not a run folder that can be read: expected the file .*config\.json, but it",
    ):
        Run.open(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "provenance.json"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "expected JSON in "),
        (b'{"name": "x", "mod', "expected JSON in "),
        (b"\xff\x00\x01", "expected JSON in "),
        (b"[]", r"expected a JSON object in .*, got \[\]"),
        (b"3", "expected a JSON object in .*, got 3"),
        (b"null", "expected a JSON object in .*, got None"),
        (None, "expected the file .*, but it does not exist"),
    ],
)
def test_a_broken_description_is_one_line(
    run_folder: Path, name: str, content: bytes | None, reason: str
) -> None:
    if content is None:
        (run_folder / name).unlink()
    else:
        (run_folder / name).write_bytes(content)
    with pytest.raises(
        CheckpointError, match=rf"^{run_folder} is not a run folder that can be read: {reason}"
    ) as error:
        Run.open(run_folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["commit", "dataset_hash", "split_hash", "recipe_hash", "fit_seconds"])
def test_a_provenance_that_lacks_what_others_rely_on_is_refused(run_folder: Path, key: str) -> None:
    stored = json.loads((run_folder / "provenance.json").read_text())
    del stored[key]
    (run_folder / "provenance.json").write_text(json.dumps(stored))
    with pytest.raises(CheckpointError, match=rf"expected {key} in .*/provenance\.json, got none$"):
        Run.open(run_folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"modle": {}}, "unknown key 'modle' in the recipe; did you mean 'model'"),
        ({"model": {"name": "gone"}}, "unknown model 'gone'; known: "),
        ({"seed": "0"}, "expected int for seed, got '0'"),
        ({"evaluation": []}, r"expected a table \[evaluation\], got \[\]"),
    ],
)
def test_a_config_that_is_no_recipe_is_one_line(
    run_folder: Path, change: dict[str, Any], reason: str
) -> None:
    config = json.loads((run_folder / "config.json").read_text())
    (run_folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(CheckpointError, match=f"is not a run folder that can be read: {reason}"):
        Run.open(run_folder)


@pytest.mark.parametrize("content", [b"", b"junk", b"\x80" + bytes(50), None, "half", "longer"])
def test_a_broken_scorer_is_one_line(run_folder: Path, content: bytes | str | None) -> None:
    file = run_folder / "scorer.safetensors"
    whole = file.read_bytes()
    if content is None:
        file.unlink()
    elif isinstance(content, bytes):
        file.write_bytes(content)
    else:
        file.write_bytes(whole[: len(whole) // 2] if content == "half" else whole + b"more")
    with pytest.raises(CheckpointError, match=rf"^expected a scorer in {file}, got: [^\n]+$"):
        Run.open(run_folder).scorer()


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (None, "of unknown kind ''; known: " + ", ".join(map(repr, sorted(SCORERS)))),
        ({"kind": "two_towers"}, r"of unknown kind 'two_towers'; did you mean 'two_tower'\?"),
    ],
)
def test_a_scorer_of_an_unknown_kind_names_the_nearest(
    run_folder: Path, metadata: dict[str, str] | None, reason: str
) -> None:
    save_file({"counts": torch.ones(3)}, run_folder / "scorer.safetensors", metadata)
    with pytest.raises(CheckpointError, match=rf"scorer\.safetensors holds a scorer {reason}$"):
        Run.open(run_folder).scorer()


@pytest.mark.parametrize("kind", ["item_to_item", "pair_fusion", "popularity", "two_tower"])
def test_a_scorer_with_other_tensors_than_its_kind_has_is_refused(run_folder: Path, kind: str) -> None:
    save_file({"other": torch.ones(3)}, run_folder / "scorer.safetensors", {"kind": kind})
    with pytest.raises(
        CheckpointError,
        match=rf"^expected the tensors of a {kind} scorer in .*, got \['other'\]; train again$",
    ):
        Run.open(run_folder).scorer()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("event", torch.zeros(2, 3)),
        ("encoder.start", torch.zeros(3)),
        ("encoder.none", torch.zeros(3)),
        ("description", torch.zeros(4, dtype=torch.uint8)),
        (
            "description",
            torch.tensor(list(b'{"options": {}, "block": "no", "dropout": 0}'), dtype=torch.uint8),
        ),
    ],
)
def test_a_scorer_of_histories_whose_tensors_do_not_fit_is_one_line(
    run_folder: Path, name: str, found: Tensor
) -> None:
    encoder = Encoder(
        "transformer",
        dim=4,
        num_layers=1,
        options={"heads": 1, "hidden": 4},
        dropout=0.0,
        generator=torch.Generator().manual_seed(0),
    )
    tensors = SequenceScorer(item=torch.ones(3, 4), encoder=encoder).tensors()
    save_tensors(run_folder / "scorer.safetensors", {**tensors, name: found}, {"kind": "sequence"})
    with pytest.raises(
        CheckpointError, match=r"^expected the tensors of a sequence scorer in [^\n]+; train again$"
    ):
        Run.open(run_folder).scorer()


def test_an_evaluation_is_kept_beside_the_others_and_replaced_by_its_like(run_folder: Path) -> None:
    run = Run.open(run_folder)
    valid, users = run.evaluation("valid"), torch.tensor([0, 2])
    for hit in (1.0, 0.5):
        values = {"Recall@5": torch.tensor([0.0, hit], dtype=torch.float64)}
        run.store("test", dataclasses.replace(valid, users=users, values=values))
    again = Run.open(run_folder)
    assert again.metrics.keys() == {"valid", "test"}
    assert again.metrics["test"]["metrics"] == {"Recall@5": 0.25}
    stored = again.evaluation("test")
    assert stored.protocol == valid.protocol
    assert stored.users.tolist() == [0, 2]
    assert {name: value.tolist() for name, value in stored.values.items()} == {"Recall@5": [0.0, 0.5]}


def test_an_evaluation_that_was_not_made_says_how_to_make_it(run_folder: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"/run has no evaluation 'test'; make it with 'fuserec evaluate'$"
    ):
        Run.open(run_folder).evaluation("test")


@pytest.mark.parametrize("content", [b"", b"junk", "half"])
def test_broken_values_are_one_line(run_folder: Path, content: bytes | str) -> None:
    file = run_folder / "values" / "valid.npz"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if isinstance(content, str) else content)
    with pytest.raises(CheckpointError, match=rf"^expected named arrays in {file}, got: [^\n]+$"):
        Run.open(run_folder).evaluation("valid")


@pytest.mark.parametrize("content", [b"[]", b"{"])
def test_broken_metrics_are_one_line(run_folder: Path, content: bytes) -> None:
    (run_folder / "metrics.json").write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"^expected (a )?JSON (object )?in .*metrics\.json, got[^\n]+$"
    ):
        _ = Run.open(run_folder).metrics


@pytest.mark.parametrize("content", [b'{"epoch": 1}\n{"ep', b"\xff", None])
def test_a_broken_log_is_one_line(run_folder: Path, content: bytes | None) -> None:
    file = run_folder / "log.jsonl"
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"^expected a JSON record a line in .*log\.jsonl, got: [^\n]+$"
    ):
        _ = Run.open(run_folder).log
