"""The tables of docs/papers tell the truth: what they name exists, and every ablation can be trained."""

from __future__ import annotations

import pkgutil
import re
import shlex
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

import fuserec
import fuserec.models
from fuserec.batch import PairBatch
from fuserec.models.tmfun import Tmfun
from fuserec.models.tmfun_config import TmfunConfig
from fuserec.testing.corpora import tiny_corpus
from fuserec.training.config import load_recipe

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "papers").glob("*.md"))
MODELS = [
    import_module(f"fuserec.models.{found.name}") for found in pkgutil.iter_modules(fuserec.models.__path__)
]
TESTS = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))


def rows(page: Path) -> list[list[str]]:
    """Cells of all rows of the tables that have a column of functions."""
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert "function" in lines[0]
    return [line.strip("|").split(" | ") for line in lines[2:]]


def exists(name: str) -> bool:
    """A dotted name below fuserec, or one that begins with a class or function of a model file."""
    first, *rest = name.split(".")
    starts: list[object] = [module for module in MODELS if hasattr(module, first)]
    if any(_reaches(start, [first, *rest]) for start in starts):
        return True
    module: object = fuserec
    parts = [first, *rest]
    while parts and isinstance(module, ModuleType):
        try:
            module = import_module(f"{module.__name__}.{parts[0]}")
        except ModuleNotFoundError:
            break
        parts = parts[1:]
    return module is not fuserec and _reaches(module, parts)


def _reaches(start: object, parts: list[str]) -> bool:
    for part in parts:
        if not hasattr(start, part):
            return False
        start = getattr(start, part)
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_function_and_test_of_the_table_exists(page: Path) -> None:
    table = rows(page)
    assert len(table) >= 4
    functions = [name for row in table for name in re.findall(r"`([\w.]+)`", row[-2])]
    tests = [name for row in table for name in re.findall(r"`(test_[\w.]+|tests/[\w/.]+)`", row[-1])]
    assert len(functions) >= 4
    assert tests
    assert [name for name in functions if not exists(name)] == []
    for name in tests:
        if "/" in name:
            assert (ROOT / name).exists(), name
        elif name.endswith(".py"):
            assert list((ROOT / "tests").rglob(name)), name
        else:
            assert f"def {name}(" in TESTS, name


def test_a_name_that_is_not_there_is_noticed() -> None:
    assert exists("models.tmfun.Tmfun.fuse")
    assert exists("Tmfun.fuse")
    assert exists("losses.bpr")
    assert not exists("Tmfun.fusion")
    assert not exists("losses.bpr.other")
    assert exists("nn.pruned_graph.prune")
    assert not exists("nn.pruned_graph.draw")
    assert not exists("Tmfun.fusion.fuse")
    assert not exists("nothing.at_all")


# -- the ablations of TMFUN


def ablations() -> dict[str, list[str]]:
    """KEY=VALUE of every --set, by the first cell of the row."""
    found = {}
    for name, _, options, *_ in (row for row in rows(ROOT / "docs" / "papers" / "tmfun.md") if len(row) == 5):
        words = [shlex.split(command) for command in re.findall(r"`(--set [^`]+)`", options)]
        if words:
            assert [word for word in words[0][::2] if word != "--set"] == []
            found[name.strip()] = words[0][1::2]
    return found


def test_the_page_says_of_every_ablation_how_to_make_it() -> None:
    """A9's shuffled content is the one that is another dataset, not another recipe."""
    numbers = {name.split(",")[0] for name in ablations()}
    assert numbers == {f"A{number}" for number in range(1, 11)}


@pytest.mark.parametrize("name", ablations())
def test_every_ablation_is_another_recipe_and_takes_a_training_step(name: str) -> None:
    path = ROOT / "recipes" / "demo" / "tmfun.toml"
    recipe = load_recipe(path, ablations()[name])
    assert recipe.hash != load_recipe(path).hash
    assert isinstance(recipe.model, TmfunConfig)
    assert recipe.train is not None
    corpus = tiny_corpus()
    model = Tmfun(recipe.model, corpus, generator=torch.Generator().manual_seed(0))
    drawn = corpus.train.items.roll(1)
    terms = model.losses(PairBatch(users=corpus.train.users, positives=corpus.train.items, negatives=drawn))
    assert terms.keys() == recipe.loss_weights.keys()
    before = model.collaborative.user.detach().clone()
    optimiser = torch.optim.Adam(model.parameters(), lr=recipe.train.learning_rate)
    torch.stack([recipe.loss_weights[term] * value for term, value in terms.items()]).sum().backward()
    optimiser.step()
    assert not torch.equal(model.collaborative.user, before)
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())
