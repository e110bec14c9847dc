from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from fuserec.errors import CheckpointError, ConfigError
from fuserec.testing.corpora import tiny_prepared
from fuserec.training.config import load_recipe, parse_recipe
from fuserec.training.recipes import packaged_recipes
from fuserec.training.resolved import DEFAULT, SET, TRAINED, as_toml, resolve
from fuserec.training.run import train

RECIPE = """
name = "mine"
[model]
name = "content_knn"
neighbours = 10  # which is the default too
weights = {image = 2.0, "a b" = 1.0}
"""


def test_what_the_recipe_says_and_what_it_leaves_out_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE)
    resolved = resolve(path)
    assert resolved.origin == {
        "name": SET,
        "seed": DEFAULT,
        "model.name": SET,
        "model.neighbours": SET,
        "model.weights": SET,
        "evaluation.cutoffs": DEFAULT,
        "evaluation.history": DEFAULT,
    }
    lines = as_toml(resolved).splitlines()
    assert lines[0].split("#")[1] == " set"
    assert lines[0].startswith('name = "mine"')
    assert "[model]" in lines
    assert any(line.startswith("cutoffs = [5, 10, 20, 50]  # default") for line in lines)


@pytest.mark.parametrize("name", sorted(packaged_recipes()))
def test_the_toml_is_the_recipe(name: str) -> None:
    recipe = load_recipe(packaged_recipes()[name])
    assert parse_recipe(tomllib.loads(as_toml(resolve(name)))) == recipe


@pytest.mark.parametrize(
    "label", ['say "hi"', "back\\slash", "tab\t, line\n, del\x7f, bell\x07", "Zo\u00eb \U0001f600"]
)
def test_any_text_comes_back(tmp_path: Path, label: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE)
    resolved = resolve(path)
    resolved.recipe["name"] = label
    resolved.recipe["model"]["weights"] = {label: 1e-7}
    table = tomllib.loads(as_toml(resolved))
    assert (table["name"], table["model"]["weights"]) == (label, {label: 1e-7})


def test_a_run_tells_what_was_decided_when_it_was_trained(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nseed = 3\n[model]\nname = "ease"\nregularisation = 7.0\n')
    recipe = load_recipe(path, ["seed=4", "evaluation.cutoffs=[2, 20]"])
    prepared = tiny_prepared()
    train(recipe, prepared, tmp_path / "run", source=path.read_text())
    resolved = resolve(tmp_path / "run")
    assert resolved.origin == {
        "name": SET,
        "seed": TRAINED,
        "split": TRAINED,
        "model.name": SET,
        "model.regularisation": SET,
        "model.max_items": DEFAULT,
        "evaluation.cutoffs": TRAINED,
        "evaluation.history": DEFAULT,
    }
    assert resolved.recipe["seed"] == 4
    (tmp_path / "run" / "recipe.toml").write_text("= broken")
    with pytest.raises(CheckpointError, match=r"expected a recipe in TOML in .*recipe\.toml, got"):
        resolve(tmp_path / "run")


def test_a_run_without_a_recipe_file_knows_only_what_is_no_default(tmp_path: Path) -> None:
    recipe = parse_recipe({"name": "mine", "model": {"name": "ease", "regularisation": 7.0}})
    train(recipe, tiny_prepared(), tmp_path / "run")
    origin = resolve(tmp_path / "run").origin
    assert (origin["name"], origin["model.regularisation"], origin["seed"]) == (SET, SET, DEFAULT)
    assert TRAINED not in origin.values()


def test_neither_a_recipe_nor_a_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected a recipe file or name, got 'demo/eas'; did you mean"):
        resolve("demo/eas")
    with pytest.raises(CheckpointError, match="is not a run folder that can be read"):
        resolve(tmp_path)
