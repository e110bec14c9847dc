"""docs/reference/recipe.md lists every key, type, default and loss that there is."""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from fuserec.models.registry import CLOSED_FORMS, GRADIENT_MODELS, config_class
from fuserec.testing.corpora import tiny_corpus
from fuserec.training.batches import stages
from fuserec.training.config import EvaluationConfig, TrainConfig, load_recipe, parse_recipe

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "recipe.md"
MODELS = [*CLOSED_FORMS, *GRADIENT_MODELS]

TYPES = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    tuple[int, ...]: "list of whole numbers",
    tuple[str, ...]: "list of texts",
    Mapping[str, float]: "table of numbers",
}


def rows_of_page(heading: str) -> dict[str, list[str]]:
    """The table below a heading: key -> its other cells."""
    parts = re.split(r"^#+ (.*)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    body = dict(zip(parts[1::2], parts[2::2], strict=True))[heading]
    lines = [line for line in body.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0].strip("`"): row[1:] for row in cells}


def default_of(field: dataclasses.Field[Any]) -> str:
    value = field.default_factory() if callable(field.default_factory) else field.default
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`"


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("`[train]`", TrainConfig),
        ("`[evaluation]`", EvaluationConfig),
        *((f"`{name}`", config_class(name)) for name in MODELS),
    ],
)
def test_the_page_lists_every_key_with_its_type_and_default(heading: str, kind: type[Any]) -> None:
    hints = typing.get_type_hints(kind)
    expected = {
        field.name: [
            # a choice of words is text
            TYPES[str if typing.get_origin(hints[field.name]) is typing.Literal else hints[field.name]],
            default_of(field),
        ]
        for field in dataclasses.fields(kind)
    }
    page = rows_of_page(heading)
    assert {key: cells[:2] for key, cells in page.items()} == expected
    assert all(len(cells) == 4 and all(cells) for cells in page.values()), "a range or a meaning is missing"


def test_the_page_lists_the_keys_at_the_top_of_a_recipe() -> None:
    resolved = dataclasses.replace(parse_recipe({"model": {"name": "ease"}}), split="random").to_dict()
    assert rows_of_page("Top of the file").keys() == {
        key for key, value in resolved.items() if not isinstance(value, dict)
    }


def test_the_page_lists_the_losses_of_every_model() -> None:
    corpus = tiny_corpus(titled=True)
    expected = {}
    for name, entry in GRADIENT_MODELS.items():
        config = entry.config()
        model = entry.build(config, corpus, torch.Generator().manual_seed(0))
        terms: set[str] = set()
        for stage in stages(entry.stages(config), corpus, batch_size=8, seed=0):
            model.begin_epoch()
            terms |= model.losses(next(iter(stage.sampler.epoch()))).keys()
        expected[name] = ", ".join(f"`{term}`" for term in sorted(terms))
    page = rows_of_page("`[loss_weights]`")
    assert {name: cells[0].partition(";")[0] for name, cells in page.items()} == expected


def test_the_recipe_of_the_page_can_be_read(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert blocks
    for block in blocks:
        (tmp_path / "page.toml").write_text(block)
        load_recipe(tmp_path / "page.toml")
