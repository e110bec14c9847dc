from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fuserec.errors import CheckpointError
from fuserec.testing.corpora import tiny_prepared
from fuserec.training.config import parse_recipe
from fuserec.training.rebuild import rebuild
from fuserec.training.run import train

RECIPE = {
    "model": {"name": "tmfun_plus", "dim": 8},
    "train": {"epochs": 2, "batch_size": 64, "device": "cpu"},
    "loss_weights": {"bpr": 1.0, "l2": 1e-4},
}


def refused(_: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    raise CheckpointError("no weights here")


def test_with_the_weights_of_its_run_a_model_comes_to_the_scorer_of_the_run(tmp_path: Path) -> None:
    prepared = tiny_prepared()
    run = train(parse_recipe(RECIPE), prepared, tmp_path / "run")
    asked = []

    def weights(wanted: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        asked.append({name: tensor.shape for name, tensor in wanted.items()})
        return run.weights()

    again, stored = rebuild(run.recipe, prepared.corpus, weights).tensors(), run.scorer().tensors()
    assert asked == [{name: tensor.shape for name, tensor in run.weights().items()}]
    assert again.keys() == stored.keys()
    assert all(torch.equal(again[name], stored[name]) for name in stored)


def test_who_gives_the_weights_may_refuse_and_a_closed_form_does_not_ask() -> None:
    corpus = tiny_prepared().corpus
    with pytest.raises(CheckpointError, match="no weights here"):
        rebuild(parse_recipe(RECIPE), corpus, refused)
    recipe = parse_recipe({"model": {"name": "content_knn"}})
    assert rebuild(recipe, corpus, refused).num_items == corpus.num_items
