from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fuserec.batch import Prepared
from fuserec.errors import CheckpointError, ConfigError, DataError
from fuserec.features.worth import CHANGES, Worth, altered, measure_worth, rebuilt
from fuserec.models.registry import CLOSED_FORMS, GRADIENT_MODELS
from fuserec.testing.corpora import tiny_corpus, tiny_prepared
from fuserec.training.checkpoint import Run
from fuserec.training.config import Recipe, parse_recipe
from fuserec.training.run import train

WITHOUT_CONTENT = {
    "bpr_mf",
    "ease",
    "esasrec",
    "hstu",
    "item_knn",
    "lightgcn",
    "markov",
    "popularity",
    "sasrec",
}
LOSS_WEIGHTS = {
    "bpr_mf": {"bpr": 1.0, "l2": 1e-4},
    "esasrec": {"softmax": 1.0},
    "freedom": {"bpr": 1.0, "content": 1e-3},
    "hstu": {"softmax": 1.0},
    "lightgcn": {"bpr": 1.0, "l2": 1e-4},
    "mgcn": {"bpr": 1.0, "contrastive": 0.01, "l2": 1e-4},
    "mufasa": {"alignment": 1.0, "collaborative": 1.0, "structure": 1.0, "uniformity": 0.1, "softmax": 1.0},
    "sasrec": {"softmax": 1.0},
    "tmfun": {"bpr": 1.0, "contrastive": 0.03, "l2": 1e-4},
    "tmfun_plus": {"bpr": 1.0, "l2": 1e-4},
}


def recipe(model: str, **options: Any) -> Recipe:
    table: dict[str, Any] = {
        "seed": 0,
        "model": {"name": model, **options},
        "evaluation": {"cutoffs": (5, 20)},
    }
    if model in LOSS_WEIGHTS:
        table["train"] = {"epochs": 3, "batch_size": 64, "learning_rate": 0.02, "device": "cpu"}
        table["loss_weights"] = LOSS_WEIGHTS[model]
        table["model"].setdefault("dim", 8)
    return parse_recipe(table)


def prepared_with_a_graph(seed: int = 0) -> Prepared:
    """Text and image with features, image also with a ready graph, genre with a graph alone."""
    return tiny_prepared(seed=seed, ready_graph=("image", "genre"))


@pytest.mark.parametrize("model", sorted({*CLOSED_FORMS, *GRADIENT_MODELS} - {"mufasa"}))
def test_every_model_of_the_registry_is_measured_with_each_modality_altered(
    model: str, tmp_path: Path
) -> None:
    prepared = prepared_with_a_graph()
    run = train(recipe(model), prepared, tmp_path / "run")
    standing, found = measure_worth(run, prepared)
    assert [one.modality for one in found] == ["text", "image", "genre"]
    assert {one.used for one in found} == {model not in WITHOUT_CONTENT}
    for one in found:
        possible = [change for change in CHANGES if one.modality != "genre" or change != "zeroed"]
        assert list(one.comparisons) == (possible if one.used else [])
        for compared in one.comparisons.values():
            assert set(compared) == {"Recall@20", "NDCG@20"}
            assert compared["NDCG@20"].mean_b == pytest.approx(standing.evaluation.means()["NDCG@20"])
    if model != "tmfun":  # its graph of the last weights is learnt an epoch later
        assert standing.deviation == 0.0


def test_of_titles_that_a_model_cannot_do_without_only_the_shuffle_is_measured(tmp_path: Path) -> None:
    prepared = tiny_prepared(titled=True)
    small = {"block": 4, "group": 2, "fusion_dim": 8, "fusion_epochs": 2, "teacher_dim": 4}
    run = train(recipe("mufasa", **small), prepared, tmp_path / "run")
    _, found = measure_worth(run, prepared)
    worth = {one.modality: one for one in found}
    assert list(worth) == ["text", "image", "title", "category"]
    assert all(one.used for one in found)
    assert list(worth["title"].comparisons) == ["shuffled"]
    for name in ("text", "image"):
        assert list(worth[name].comparisons) == list(CHANGES)


def test_tmfun_with_frozen_graphs_is_reproduced_to_the_bit(tmp_path: Path) -> None:
    prepared = tiny_prepared()
    run = train(recipe("tmfun", frozen_share=1.0), prepared, tmp_path / "run")
    assert measure_worth(run, prepared)[0].deviation == 0.0
    scorer, stored = rebuilt(run, prepared.corpus).tensors(), run.scorer().tensors()
    assert all(torch.equal(scorer[name], stored[name]) for name in stored)


def test_what_a_model_lives_by_costs_it_and_what_it_does_not_use_is_said_to_be_unused(tmp_path: Path) -> None:
    prepared = tiny_prepared(num_users=90, num_items=60, events_per_user=12, num_cold=0, missing=0.0)
    run = train(recipe("content_knn", weights={"text": 1.0}), prepared, tmp_path / "run")
    _, (text, image) = measure_worth(run, prepared, metrics=["Recall@20"])
    assert not image.used
    assert image.comparisons == {}
    for change in CHANGES:
        assert text.comparisons[change]["Recall@20"].verdict == "behind"
    assert text.as_json()["changes"]["shuffled"]["Recall@20"]["verdict"] == "behind"
    # without any text content kNN knows nothing: all items are tied
    left_out, zeroed = (text.comparisons[change]["Recall@20"] for change in ("left out", "zeroed"))
    assert left_out.mean_a == zeroed.mean_a


def test_an_altered_corpus_differs_in_one_modality_alone() -> None:
    corpus = tiny_corpus(ready_graph=("image", "genre"))
    changed = dict(altered(corpus, "image", seed=1))
    image = corpus.modalities[1]
    assert image.features is not None
    assert image.graph is not None
    for other in changed.values():
        assert other.train is corpus.train
        assert [one is two for one, two in zip(other.modalities, corpus.modalities, strict=True)] == [
            True,
            False,
            True,
        ]
    gone, empty, dealt = (changed[change].modalities[1] for change in CHANGES)
    assert not gone.present.any()
    assert gone.graph is not None
    assert bool((gone.graph.neighbours == -1).all())
    assert empty.graph is image.graph
    assert torch.equal(empty.present, image.present)
    assert empty.features is not None
    assert not empty.features.any()
    assert dealt.features is not None
    assert torch.equal(dealt.features.any(1), dealt.present)
    assert torch.equal(dealt.features.sort(0).values, image.features.sort(0).values)
    assert not torch.equal(dealt.features, image.features)
    assert [change for change, _ in altered(corpus, "genre", seed=1)] == ["left out", "shuffled"]


def test_rows_mask_and_graph_are_shuffled_by_one_permutation() -> None:
    corpus = tiny_corpus(ready_graph=("image",))
    image, dealt = corpus.modalities[1], dict(altered(corpus, "image", seed=3))["shuffled"].modalities[1]
    assert image.features is not None
    assert dealt.features is not None
    assert image.graph is not None
    assert dealt.graph is not None
    item = int(torch.nonzero(image.present)[0, 0])
    holder = int(torch.nonzero((dealt.features == image.features[item]).all(1))[0, 0])
    neighbour = int(image.graph.neighbours[item, 0])
    its_holder = int(dealt.graph.neighbours[holder, 0])
    assert torch.equal(dealt.features[its_holder], image.features[neighbour])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Prepared]:
    prepared = tiny_prepared()
    return train(recipe("tmfun_plus"), prepared, tmp_path_factory.mktemp("runs") / "run"), prepared


def test_the_test_part_plays_no_part(trained: tuple[Run, Prepared]) -> None:
    run, prepared = trained
    poisoned = replace(prepared, test=replace(prepared.test, items=prepared.test.items.flip(0)))
    assert _figures(measure_worth(run, prepared)[1]) == _figures(measure_worth(run, poisoned)[1])


def _figures(found: tuple[Worth, ...]) -> list[dict[str, Any]]:
    return [one.as_json() for one in found]


def test_a_run_of_other_data_is_refused(trained: tuple[Run, Prepared]) -> None:
    with pytest.raises(CheckpointError, match="was trained on other data"):
        measure_worth(trained[0], tiny_prepared(seed=5))


def test_a_dataset_whose_features_have_changed_is_refused(trained: tuple[Run, Prepared]) -> None:
    run, prepared = trained
    other = dict(altered(prepared.corpus, "text", seed=2))["left out"]
    changed = replace(prepared, corpus=other, dataset_hash="changed")
    with pytest.raises(CheckpointError, match="the features of the dataset have changed since; train again"):
        measure_worth(run, changed)


def test_weights_that_do_not_fit_or_are_missing_are_refused(tmp_path: Path) -> None:
    prepared = tiny_prepared()
    run = train(recipe("tmfun"), prepared, tmp_path / "run")
    fewer = replace(
        prepared, corpus=replace(prepared.corpus, modalities=prepared.corpus.modalities[:1]), dataset_hash="x"
    )
    with pytest.raises(
        CheckpointError, match="to fit tmfun on the dataset as it is, got others: its modalities have changed"
    ):
        measure_worth(run, fewer)
    moved = tmp_path / "moved"
    shutil.copytree(run.path, moved)
    (moved / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"expected the weights of the run in .*model\.safetensors"):
        measure_worth(Run.open(moved), prepared)


def test_no_modality_and_an_unknown_metric_are_refused(tmp_path: Path) -> None:
    bare = tiny_prepared(modalities=())
    with pytest.raises(DataError, match="expected a dataset with at least one modality"):
        measure_worth(train(recipe("popularity"), bare, tmp_path / "bare"), bare)
    prepared = tiny_prepared()
    run = train(recipe("content_knn"), prepared, tmp_path / "run")
    with pytest.raises(ConfigError, match="expected a metric that was measured, got 'Recall@7'"):
        measure_worth(run, prepared, metrics=["Recall@7"])
