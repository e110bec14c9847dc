from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fuserec.errors import ConfigError
from fuserec.files import hash_json
from fuserec.models.registry import CLOSED_FORMS, GRADIENT_MODELS
from fuserec.training.config import EvaluationConfig, TrainConfig, load_recipe, parse_recipe
from fuserec.training.recipes import packaged_recipes

MODELS = [*CLOSED_FORMS, *GRADIENT_MODELS]

TMFUN = """
name = "mine"
split = "random"
seed = 5
[model]
name = "tmfun"
dim = 16
steps = ["early", "late"]
[train]
learning_rate = 1
device = "cpu"
[loss_weights]
bpr = 1
contrastive = 0.03
l2 = 1e-4
[evaluation]
cutoffs = [10, 20]
"""


@pytest.fixture
def tmfun(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(TMFUN)
    return path


# --- what a recipe says


def test_a_recipe_is_what_its_file_says_and_defaults_for_the_rest(tmfun: Path) -> None:
    recipe = load_recipe(tmfun)
    assert (recipe.name, recipe.split, recipe.seed, recipe.model_name) == ("mine", "random", 5, "tmfun")
    assert (recipe.model.dim, recipe.model.steps, recipe.model.num_layers) == (16, ("early", "late"), 2)
    assert recipe.train == TrainConfig(learning_rate=1.0, device="cpu")
    assert recipe.loss_weights == {"bpr": 1.0, "contrastive": 0.03, "l2": 1e-4}
    assert recipe.evaluation == EvaluationConfig(cutoffs=(10, 20))


def test_whole_numbers_serve_as_numbers(tmfun: Path) -> None:
    recipe = load_recipe(tmfun)
    assert recipe.train is not None
    assert type(recipe.train.learning_rate) is float
    assert type(recipe.loss_weights["bpr"]) is float


def test_the_name_of_the_model_is_the_default_label() -> None:
    recipe = parse_recipe({"model": {"name": "ease"}})
    assert (recipe.name, recipe.seed, recipe.split, recipe.train, recipe.loss_weights) == (
        "ease",
        0,
        None,
        None,
        {},
    )


@pytest.mark.parametrize("name", sorted(packaged_recipes()))
def test_every_recipe_that_comes_with_fuserec_can_be_read(name: str) -> None:
    assert load_recipe(packaged_recipes()[name]).name


# --- unknown keys

NO_LOSS = {"model": {"name": "lightgcn"}}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (NO_LOSS | {"sed": 1}, r"unknown key 'sed' in the recipe; did you mean 'seed'\?"),
        (NO_LOSS | {"trian": {}}, r"unknown key 'trian' in the recipe; did you mean 'train'\?"),
        (
            {"model": {"name": "lightgcn", "num_layer": 1}},
            r"unknown key 'num_layer' in \[model\]; did you mean 'num_layers'\?",
        ),
        (
            {"model": {"name": "ease", "num_layers": 1}},
            r"unknown key 'num_layers' in \[model\]; known: 'max_items', 'regularisation'",
        ),
        (
            NO_LOSS | {"train": {"epoch": 1}},
            r"unknown key 'epoch' in \[train\]; did you mean 'epochs'\?",
        ),
        (
            NO_LOSS | {"evaluation": {"cutoff": [1]}},
            r"unknown key 'cutoff' in \[evaluation\]; did you mean 'cutoffs'\?",
        ),
        ({"model": {"name": "lightgnc"}}, r"unknown model 'lightgnc'; did you mean 'lightgcn'\?"),
    ],
)
def test_an_unknown_key_names_the_nearest(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}$"):
        parse_recipe(table)


@pytest.mark.parametrize("section", ["train", "loss_weights"])
def test_a_closed_form_has_no_training(section: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"\[{section}\] has no meaning for the closed form 'ease'; remove it"
    ):
        parse_recipe({"model": {"name": "ease"}, section: {}})


@pytest.mark.parametrize("model", [{}, {"dim": 3}, {"name": 3}])
def test_a_model_must_be_named(model: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r'expected name = "..." in \[model\], for example name = "tmfun"'):
        parse_recipe({"model": model})


@pytest.mark.parametrize("section", ["model", "train", "loss_weights", "evaluation"])
def test_a_section_must_be_a_table(section: str) -> None:
    with pytest.raises(ConfigError, match=rf"expected a table \[{section}\], got 3"):
        parse_recipe(NO_LOSS | {section: 3})


# --- types and ranges


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("train", "epochs", True, r"expected int for epochs in \[train\], got True"),
        ("train", "epochs", 1.0, r"expected int for epochs in \[train\], got 1.0"),
        ("train", "epochs", "10", r"expected int for epochs in \[train\], got '10'"),
        ("train", "learning_rate", True, r"expected float for learning_rate in \[train\], got True"),
        ("train", "learning_rate", "1", r"expected float for learning_rate in \[train\], got '1'"),
        ("train", "learning_rate", float("nan"), "expected a finite number for learning_rate .*, got nan"),
        ("train", "learning_rate", float("inf"), "expected a finite number for learning_rate .*, got inf"),
        ("train", "learning_rate", 10**400, "expected a finite number for learning_rate .*, got 1000"),
        ("train", "learning_rate", 0, "learning_rate must be above 0, got 0.0"),
        ("train", "epochs", 0, "epochs must be at least 1, got 0"),
        (
            "train",
            "batch_size",
            2**63,
            r"expected a whole number of 64 bits for batch_size in \[train\], got 9",
        ),
        ("evaluation", "cutoffs", [10**20], "expected a whole number of 64 bits for cutoffs .*, got 1000"),
        ("train", "batch_size", 0, "batch_size must be at least 1, got 0"),
        ("train", "patience", -1, "patience must be at least 1, got -1"),
        ("train", "evaluate_every", 0, "evaluate_every must be at least 1, got 0"),
        ("train", "device", "gpu", "device must be 'auto', 'cpu' or 'cuda', got 'gpu'"),
        ("train", "monitor", 20, r"expected str for monitor in \[train\], got 20"),
        ("model", "steps", "late", r"expected tuple\[str, \.\.\.\] for steps in \[model\], got 'late'"),
        ("model", "steps", ["late", 1], r"expected str for steps in \[model\], got 1"),
        ("model", "directed", 1, r"expected bool for directed in \[model\], got 1"),
        ("model", "dim", 0, "dim must be at least 1, got 0"),
        ("model", "temperature", float("nan"), "expected a finite number for temperature .*, got nan"),
        ("loss_weights", "bpr", True, "expected float for 'bpr' of loss_weights, got True"),
        ("loss_weights", "bpr", float("nan"), "expected a finite number for 'bpr' of loss_weights, got nan"),
        ("evaluation", "cutoffs", 5, r"expected tuple\[int, \.\.\.\] for cutoffs in \[evaluation\], got 5"),
        ("evaluation", "cutoffs", [5, True], r"expected int for cutoffs in \[evaluation\], got True"),
        ("evaluation", "cutoffs", [], r"cutoffs must be whole numbers of at least 1, got \[\]"),
        ("evaluation", "cutoffs", [5, 0], r"cutoffs must be whole numbers of at least 1, got \[5, 0\]"),
    ],
)
def test_a_value_of_the_wrong_type_or_range_is_refused(
    section: str, key: str, value: Any, message: str
) -> None:
    table: dict[str, Any] = {"model": {"name": "tmfun"}}
    table.setdefault(section, {})[key] = value
    with pytest.raises(ConfigError, match=f"^{message}"):
        parse_recipe(table)


@pytest.mark.parametrize(
    ("key", "value", "wanted"), [("seed", True, "int"), ("seed", 1.5, "int"), ("name", 1, "str")]
)
def test_a_label_is_text_and_a_seed_a_whole_number(key: str, value: Any, wanted: str) -> None:
    with pytest.raises(ConfigError, match=f"^expected {wanted} for {key}, got {value}$"):
        parse_recipe(NO_LOSS | {key: value})


def test_a_split_is_text_or_left_out() -> None:
    assert parse_recipe(NO_LOSS | {"split": None}).split is None
    with pytest.raises(ConfigError, match="expected str for split, got 3"):
        parse_recipe(NO_LOSS | {"split": 3})


# --- files and overrides


@pytest.mark.parametrize("content", [b"seed = ", b"\xff\xfe", b"a = 1\na = 2"])
def test_what_is_no_toml_is_one_line_with_the_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"^expected a recipe in TOML in {path}, got: [^\n]+$"):
        load_recipe(path)


def test_a_missing_recipe_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^expected a recipe, but {tmp_path}/no\.toml does not exist$"):
        load_recipe(tmp_path / "no.toml")
    with pytest.raises(ConfigError, match=r"expected a recipe in TOML in .*Is a directory"):
        load_recipe(tmp_path)


def test_an_error_in_a_recipe_names_its_file(tmfun: Path) -> None:
    with pytest.raises(
        ConfigError, match=rf"^{tmfun}: unknown key 'dmi' in \[model\]; did you mean 'dim'\?$"
    ):
        load_recipe(tmfun, ["model.dmi=3"])


def test_overrides_are_toml_and_bare_words_are_text(tmfun: Path) -> None:
    recipe = load_recipe(
        tmfun,
        [
            "model.dim=32",
            " model.num_layers = 3 ",
            'model.steps=["late"]',
            "model.directed=true",
            "train.learning_rate=1e-2",
            "train.monitor=NDCG@10",
            "name= other",
            "loss_weights.l2=0",
            "seed=9",
        ],
    )
    assert (recipe.model.dim, recipe.model.num_layers, recipe.model.steps) == (32, 3, ("late",))
    assert recipe.train is not None
    assert (recipe.train.learning_rate, recipe.train.monitor) == (0.01, "NDCG@10")
    assert (recipe.model.directed, recipe.name, recipe.loss_weights["l2"], recipe.seed) == (
        True,
        "other",
        0,
        9,
    )


def test_the_last_override_wins_and_a_section_may_be_new(tmfun: Path, tmp_path: Path) -> None:
    assert load_recipe(tmfun, ["seed=1", "seed=2"]).seed == 2
    bare = tmp_path / "bare.toml"
    bare.write_text("")
    assert load_recipe(bare, ["model.name=popularity", "evaluation.cutoffs=[3]"]).evaluation.cutoffs == (3,)


@pytest.mark.parametrize("override", ["model.dim", "=3", "model.dim 3"])
def test_an_override_without_key_or_value_is_refused(tmfun: Path, override: str) -> None:
    with pytest.raises(
        ConfigError, match=f"^expected an override such as model.dim=32, got {re.escape(repr(override))}$"
    ):
        load_recipe(tmfun, [override])


def test_an_override_of_several_lines_sets_no_other_key_and_loses_nothing(tmfun: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected int for dim in \[model\], got '4\\nseed = 9'"):
        load_recipe(tmfun, ["model.dim=4\nseed = 9"])
    assert load_recipe(tmfun, ["evaluation.cutoffs=[\n5,\n20]"]).evaluation.cutoffs == (5, 20)


def test_an_override_below_a_value_is_refused(tmfun: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected a table at 'seed' of the override 'seed\.x=1'"):
        load_recipe(tmfun, ["seed.x=1"])


# --- the hash


@pytest.mark.parametrize("override", ["name=other", "seed=99", "train.device=cuda"])
def test_the_hash_does_not_know_the_label_the_seed_and_the_device(tmfun: Path, override: str) -> None:
    assert load_recipe(tmfun, [override]).hash == load_recipe(tmfun).hash


OTHER_VALUES = {
    "split": "other",
    "model.dim": 17,
    "model.num_layers": 5,
    "model.item_layers": 5,
    "model.num_neighbours": 11,
    "model.frozen_share": 0.5,
    "model.directed": True,
    "model.feature_graph_input": "id",
    "model.modality_graphs": False,
    "model.steps": ["late"],
    "model.scope": "pair",
    "model.attention": False,
    "model.temperature": 0.25,
    "model.same_above": 0.5,
    "model.graph_features": 7,
    "model.modalities": ["text"],
    "train.epochs": 17,
    "train.batch_size": 17,
    "train.learning_rate": 0.5,
    "train.patience": 17,
    "train.evaluate_every": 17,
    "train.monitor": "MAP@5",
    "train.weight_decay": 0.5,
    "train.warmup_steps": 17,
    "train.schedule": "cosine",
    "loss_weights.bpr": 0.5,
    "loss_weights.contrastive": 0.5,
    "loss_weights.l2": 0.5,
    "evaluation.cutoffs": [10],
    "evaluation.history": "train+valid",
}


def leaves(table: Mapping[str, Any], prefix: str = "") -> set[str]:
    found = set()
    for key, value in table.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key}
    return found


def test_the_hash_knows_everything_else(tmfun: Path) -> None:
    base = load_recipe(tmfun)
    assert OTHER_VALUES.keys() | {"name", "seed", "model.name", "train.device"} == leaves(base.to_dict())
    hashes = [load_recipe(tmfun, [f"{key}={json.dumps(value)}"]).hash for key, value in OTHER_VALUES.items()]
    assert len({base.hash, *hashes}) == 1 + len(OTHER_VALUES)


def test_an_option_that_came_later_changes_no_hash_where_it_is_left_alone(tmfun: Path) -> None:
    base = load_recipe(tmfun)
    later = ["train.weight_decay=0.0", "train.warmup_steps=0", 'train.schedule="constant"']
    assert load_recipe(tmfun, [*later, 'evaluation.history="train"']).hash == base.hash
    # that of results which were committed before the options were there
    table = base.to_dict()
    del table["name"], table["seed"], table["train"]["device"]
    for option in ("weight_decay", "warmup_steps", "schedule"):
        del table["train"][option]
    del table["evaluation"]["history"]
    assert base.hash == hash_json(table)


def test_the_hash_knows_the_model() -> None:
    assert len({parse_recipe({"model": {"name": name}}).hash for name in MODELS}) == len(MODELS)


def test_a_default_written_out_is_the_same_recipe() -> None:
    short = parse_recipe({"model": {"name": "ease"}})
    long = parse_recipe({"model": {"name": "ease", "regularisation": short.model.regularisation}})
    assert (short, short.hash) == (long, long.hash)
