"""The recipes of the closed forms still reach the validation figures of docs/lab.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from fuserec.batch import Corpus, KnnGraph, Modality, Pairs, Prepared
from fuserec.models.registry import CLOSED_FORMS
from fuserec.training.config import load_recipe
from fuserec.training.evaluate import evaluate

RECIPES = Path(__file__).resolve().parents[2] / "recipes" / "baby"


@pytest.fixture(scope="module")
def baby(real_data: Path) -> Prepared:
    folder = real_data / "amazon-baby"
    log = pl.read_parquet(folder / "interactions.parquet")
    num_users, num_items = (int(log[column].n_unique()) for column in ("user_idx", "item_idx"))

    def part(name: str) -> Pairs:
        chosen = log.filter(pl.col("split_mmrec") == name)
        users, items = (
            torch.from_numpy(chosen[c].to_numpy().astype(np.int64)) for c in ("user_idx", "item_idx")
        )
        return Pairs(users=users, items=items)

    def modality(name: str) -> Modality:
        with np.load(folder / f"knn10_{name}.npz", allow_pickle=False) as file:
            graph = KnnGraph(
                neighbours=torch.from_numpy(file["neighbours"].astype(np.int64)),
                weights=torch.from_numpy(file["cosine"]),
            )
        return Modality(name=name, present=torch.ones(num_items, dtype=torch.bool), graph=graph)

    return Prepared(
        corpus=Corpus(
            num_users=num_users,
            num_items=num_items,
            train=part("train"),
            modalities=(modality("text"), modality("image")),
        ),
        valid=part("valid"),
        test=Pairs(users=torch.zeros(0, dtype=torch.int64), items=torch.zeros(0, dtype=torch.int64)),
        split="split_mmrec",
        repeats=False,
        dataset_hash="read without a dataset",
        split_hash="split_mmrec",
    )


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "recall", "ndcg"),
    [
        ("popularity", 0.0463, 0.0194),
        ("content_knn", 0.0431, 0.0176),
        ("item_knn", 0.0832, 0.0386),
        ("item_knn_content", 0.0931, 0.0434),
    ],
)
def test_a_recipe_reaches_its_validation_figures(
    baby: Prepared, name: str, recall: float, ndcg: float
) -> None:
    recipe = load_recipe(RECIPES / f"{name}.toml")
    assert recipe.split == baby.split
    scorer = CLOSED_FORMS[recipe.model_name].build(recipe.model).fit(baby.corpus)
    means = evaluate(scorer, baby, part="valid", cutoffs=(20,), metrics=("Recall", "NDCG")).means()
    assert means["Recall@20"] == pytest.approx(recall, abs=1e-4)
    assert means["NDCG@20"] == pytest.approx(ndcg, abs=1e-4)
