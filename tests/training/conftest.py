"""Recipes small enough to be trained in a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fuserec.training.config import Recipe, parse_recipe

LOSS_WEIGHTS = {
    "bpr_mf": {"bpr": 1.0, "l2": 1e-4},
    "freedom": {"bpr": 1.0, "content": 1e-3},
    "lightgcn": {"bpr": 1.0, "l2": 1e-4},
    "esasrec": {"softmax": 1.0},
    "hstu": {"softmax": 1.0},
    "mufasa": {"alignment": 1.0, "collaborative": 1.0, "structure": 1.0, "uniformity": 0.1, "softmax": 1.0},
    "mgcn": {"bpr": 1.0, "contrastive": 0.01, "l2": 1e-4},
    "sasrec": {"softmax": 1.0},
    "tmfun": {"bpr": 1.0, "contrastive": 0.03, "l2": 1e-4},
    "tmfun_plus": {"bpr": 1.0, "l2": 1e-4},
}

RecipeOf = Callable[..., Recipe]


@pytest.fixture(scope="session")
def recipe_of() -> RecipeOf:
    """``recipe_of("tmfun", seed=1, epochs=2, dim=4)``: a recipe with a few options changed."""

    def build(model: str, *, seed: int = 0, cutoffs: tuple[int, ...] = (5, 20), **options: Any) -> Recipe:
        table: dict[str, Any] = {"seed": seed, "model": {"name": model}, "evaluation": {"cutoffs": cutoffs}}
        if model in LOSS_WEIGHTS:
            table["train"] = {"epochs": 3, "batch_size": 64, "learning_rate": 0.02, "device": "cpu"}
            table["loss_weights"] = LOSS_WEIGHTS[model]
            table["model"]["dim"] = 8
        if model == "mufasa":
            table["model"] |= {"fusion_epochs": 1, "fusion_dim": 8, "teacher_dim": 4, "block": 4, "group": 2}
        for key, value in options.items():
            section = "train" if key in ("epochs", "batch_size", "learning_rate", "patience") else "model"
            table[section][key] = value
        return parse_recipe(table)

    return build
