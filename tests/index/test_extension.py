from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fuserec.batch import Corpus, Histories, KnnGraph, Modality, Prepared, Queries
from fuserec.errors import CheckpointError, ConfigError
from fuserec.index.extension import NewRows, extended_scorer, placed, require_content, used_modalities
from fuserec.models.item_to_item import ItemToItem
from fuserec.models.protocol import Scorer
from fuserec.models.registry import CLOSED_FORMS, GRADIENT_MODELS, by_content
from fuserec.testing.corpora import NUM_GROUPS, tiny_prepared
from fuserec.training.checkpoint import Run
from fuserec.training.config import Recipe, parse_recipe
from fuserec.training.run import train

LOSS_WEIGHTS = {
    "freedom": {"bpr": 1.0, "content": 1e-3},
    "mgcn": {"bpr": 1.0, "contrastive": 0.01, "l2": 1e-4},
    "mufasa": dict.fromkeys(("alignment", "collaborative", "structure", "uniformity", "softmax"), 1.0),
    "tmfun": {"bpr": 1.0, "contrastive": 0.03, "l2": 1e-4},
    "tmfun_plus": {"bpr": 1.0, "l2": 1e-4},
}
WITH_CONTENT = [
    ("content_knn", {}),
    ("item_knn_content", {}),
    ("freedom", {}),
    ("mgcn", {}),
    ("tmfun", {}),
    ("tmfun", {"scope": "pair"}),
    ("tmfun", {"scope": "global"}),
    ("tmfun", {"frozen_share": 1.0, "feature_graph_input": "id"}),
    ("tmfun_plus", {}),
    ("tmfun_plus", {"history": False, "behaviour_weight": 0.0}),
]
BY_VECTORS = [
    ("mufasa", {}),
    (
        "mufasa",
        {"items": "content", "similarity": "cosine", "genres": "", "modalities": ["image", "category"]},
    ),
    ("mufasa", {"attention": "dense", "joint": True, "anchor": "text"}),
    ("mufasa", {"borders": "content"}),
    ("mufasa", {"tied": False}),
    ("mufasa", {"cold_scale": 2.0}),
]
MUFASA_SIZES = {"num_layers": 1, "heads": 1, "block": 2, "group": 2, "fusion_dim": 8, "fusion_heads": 2}
MUFASA_SIZES |= {"fusion_epochs": 8, "fusion_batch": 16, "teacher_dim": 4, "teacher_events": 1}
NEW_GROUPS = torch.tensor([0, 1, 2, 2, 1])


def recipe(model: str, **options: Any) -> Recipe:
    table: dict[str, Any] = {"model": {"name": model, **options}, "evaluation": {"cutoffs": [5]}}
    if model in GRADIENT_MODELS:
        table["train"] = {"epochs": 5, "batch_size": 64, "learning_rate": 0.02, "monitor": "Recall@5"}
        table["train"]["device"] = "cpu"
        table["loss_weights"] = LOSS_WEIGHTS[model]
        table["model"] |= {"dim": 8, **(MUFASA_SIZES if model == "mufasa" else {"num_neighbours": 5})}
    return parse_recipe(table)


def trained(tmp_path: Path, prepared: Prepared, model: str, **options: Any) -> Run:
    return train(recipe(model, **options), prepared, tmp_path / "run")


def new_rows(corpus: Corpus, groups: Tensor = NEW_GROUPS) -> dict[str, NewRows]:
    """New items that are like the items of their groups."""
    group_I = torch.arange(corpus.num_items) % NUM_GROUPS
    rows = {}
    for modality in corpus.modalities:
        assert modality.features is not None
        means = torch.stack(
            [modality.features[modality.present & (group_I == group)].mean(0) for group in range(NUM_GROUPS)]
        )
        noise = torch.randn(len(groups), means.shape[1], generator=torch.Generator().manual_seed(1))
        rows[modality.name] = NewRows(
            features=means[groups] + 0.1 * noise, present=torch.ones(len(groups), dtype=torch.bool)
        )
    return rows


def extended(run: Run, corpus: Corpus, new: dict[str, NewRows], count: int = len(NEW_GROUPS)) -> Scorer:
    return extended_scorer(run.recipe, run.scorer(), run.weights(), corpus, new, count=count)


def users_of(prepared: Prepared) -> Queries:
    corpus = prepared.corpus
    return Queries(
        users=torch.arange(corpus.num_users), histories=Histories.of(corpus.train, num_users=corpus.num_users)
    )


def scores(scorer: Scorer, queries: Queries, start: int, stop: int) -> Tensor:
    return scorer.scores(queries, slice(start, stop)).clone()


@pytest.mark.parametrize(("model", "options"), WITH_CONTENT + BY_VECTORS)
def test_old_scores_stay_to_the_bit_and_new_items_find_the_users_of_their_group(
    tmp_path: Path, model: str, options: dict[str, Any]
) -> None:
    prepared = tiny_prepared(num_users=60, missing=0.1, titled=model == "mufasa")
    run = trained(tmp_path, prepared, model, **options)
    whole = extended(run, prepared.corpus, new_rows(prepared.corpus))
    queries, old = users_of(prepared), prepared.corpus.num_items
    assert torch.equal(scores(whole, queries, 0, old), scores(run.scorer(), queries, 0, old))
    assert placed(whole, old).all()
    scores_UN = scores(whole, queries, old, whole.num_items)
    own_UN = (torch.arange(len(queries)) % NUM_GROUPS)[:, None] == NEW_GROUPS
    for score_U, own_U in zip(scores_UN.T, own_UN.T, strict=True):
        assert score_U[own_U].mean() > score_U[~own_U].mean()


@pytest.mark.parametrize("model", [*CLOSED_FORMS, *GRADIENT_MODELS])
def test_a_model_either_uses_content_or_is_refused(model: str) -> None:
    assert (model in {name for name, _ in WITH_CONTENT + BY_VECTORS}) == by_content(model)
    if by_content(model):
        return
    corpus = tiny_prepared().corpus
    options: dict[str, Any] = {"train": {}, "loss_weights": {}} if model in GRADIENT_MODELS else {}
    refused = parse_recipe({"model": {"name": model}, **options})
    with pytest.raises(
        ConfigError,
        match=f"places new items by their content, got '{model}', which knows items by their events",
    ):
        extended_scorer(refused, ItemToItem(torch.zeros(1, 1)), {}, corpus, {}, count=1)


@pytest.mark.parametrize("model", [name for name in CLOSED_FORMS if not by_content(name)])
def test_the_refused_closed_forms_say_nothing_of_an_item_without_events(model: str) -> None:
    corpus = tiny_prepared().corpus
    fitted = CLOSED_FORMS[model].build(recipe(model).model).fit(corpus)
    cold = torch.nonzero(corpus.popularity() == 0)[:, 0]
    queries = users_of(tiny_prepared())
    assert not fitted.scores(queries, slice(0, corpus.num_items))[:, cold].any()


@pytest.mark.parametrize(("model", "options"), WITH_CONTENT)
def test_the_model_that_is_built_again_is_the_one_that_was_trained(
    tmp_path: Path, model: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items without any content change no graph, so but for the learnt one all scores come out again."""
    prepared = tiny_prepared()
    run = trained(tmp_path, prepared, model, **options)
    monkeypatch.setattr("fuserec.index.extension._with_new_rows", lambda _, fitted: fitted)
    again = extended(run, prepared.corpus, {}, count=2)
    queries, old = users_of(prepared), prepared.corpus.num_items
    # of a learnt graph the run's scorer has the one from the beginning of its last epoch
    tolerance = 0.5 if model == "tmfun" and "frozen_share" not in options else 1e-4
    expected = scores(run.scorer(), queries, 0, old)
    assert (scores(again, queries, 0, old) - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("model", ["content_knn", "freedom", "tmfun_plus"])
def test_an_item_without_content_is_placed_nowhere(tmp_path: Path, model: str) -> None:
    prepared = tiny_prepared()
    run = trained(tmp_path, prepared, model)
    rows = {
        name: NewRows(
            features=each.features.index_fill(0, torch.tensor([1]), 0.0),
            present=each.present.index_fill(0, torch.tensor([1]), value=False),
        )
        for name, each in new_rows(prepared.corpus).items()
    }
    whole = extended(run, prepared.corpus, rows)
    assert placed(whole, prepared.corpus.num_items).tolist() == [True, False, True, True, True]


@pytest.mark.parametrize("model", ["content_knn", "freedom", "tmfun_plus"])
def test_new_items_do_not_hide_each_other(tmp_path: Path, model: str) -> None:
    """Ten copies of one item would be each other's ten neighbours, and none of them would have a reader."""
    prepared = tiny_prepared()
    run = trained(tmp_path, prepared, model)
    copies = new_rows(prepared.corpus, torch.zeros(12, dtype=torch.int64))
    for each in copies.values():
        each.features[:] = each.features[:1]
    whole = extended(run, prepared.corpus, copies, count=12)
    assert placed(whole, prepared.corpus.num_items).all()


def test_of_the_order_of_new_items_nothing_depends(tmp_path: Path) -> None:
    prepared = tiny_prepared()
    run = trained(tmp_path, prepared, "tmfun_plus")
    rows, order, old = new_rows(prepared.corpus), torch.tensor([3, 0, 4, 2, 1]), prepared.corpus.num_items
    turned = {
        name: NewRows(features=each.features[order], present=each.present[order])
        for name, each in rows.items()
    }
    queries = users_of(prepared)
    first = scores(extended(run, prepared.corpus, rows), queries, old, old + 5)
    second = scores(extended(run, prepared.corpus, turned), queries, old, old + 5)
    torch.testing.assert_close(second, first[:, order])


def test_neighbours_are_the_nearest_old_items_by_hand() -> None:
    """Of (1, 0), (0, 1) and a missing third the new (3, 4) has cosines .6 and .8."""
    corpus = Corpus(
        num_users=1,
        num_items=3,
        train=tiny_prepared().corpus.train,
        modalities=(
            Modality(
                name="text",
                present=torch.tensor([True, True, False]),
                features=torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]),
            ),
        ),
    )
    new = {"text": NewRows(features=torch.tensor([[3.0, 4.0]]), present=torch.tensor([True]))}
    fitted = CLOSED_FORMS["content_knn"].build(recipe("content_knn").model).fit(corpus)
    whole = extended_scorer(recipe("content_knn"), fitted, {}, corpus, new, count=1)
    assert isinstance(whole, ItemToItem)
    assert not isinstance(whole.weights, Tensor)
    expected = torch.zeros(4, 4)
    expected[0, 3] = expected[3, 0] = 0.6
    expected[1, 3] = expected[3, 1] = 0.8
    torch.testing.assert_close(whole.weights.dense(), expected)


def test_a_ready_graph_stays_and_its_modality_places_new_items_by_features(tmp_path: Path) -> None:
    prepared = tiny_prepared(ready_graph=("text",))
    run = trained(tmp_path, prepared, "content_knn")
    rows = new_rows(prepared.corpus)
    whole = extended(run, prepared.corpus, {"text": rows["text"]})
    queries, old = users_of(prepared), prepared.corpus.num_items
    assert torch.equal(scores(whole, queries, 0, old), scores(run.scorer(), queries, 0, old))
    assert placed(whole, old).all()


@pytest.mark.parametrize("model", ["tmfun", "mgcn"])
def test_a_modality_with_a_graph_only_leaves_new_items_out(tmp_path: Path, model: str) -> None:
    """Its features are eigenvectors of the graph, as many as there are items where these are few."""
    prepared = tiny_prepared(modalities=("text",), ready_graph=("image",))
    run = trained(tmp_path, prepared, model)
    text = new_rows(replace(prepared.corpus, modalities=prepared.corpus.modalities[:1]))
    whole = extended(run, prepared.corpus, text)
    assert placed(whole, prepared.corpus.num_items).all()
    bare = extended(run, prepared.corpus, {})
    assert not placed(bare, prepared.corpus.num_items).any()


def test_a_limit_on_the_catalogue_does_not_stop_a_few_more_items(tmp_path: Path) -> None:
    prepared = tiny_prepared()
    run = trained(tmp_path, prepared, "tmfun_plus", max_items=prepared.corpus.num_items)
    assert placed(extended(run, prepared.corpus, new_rows(prepared.corpus)), prepared.corpus.num_items).all()


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    prepared = tiny_prepared()
    run = trained(tmp_path, prepared, "tmfun_plus")
    with pytest.raises(CheckpointError, match="of the model that the run's recipe describes"):
        extended_scorer(run.recipe, run.scorer(), {}, prepared.corpus, {}, count=1)
    wide = run.weights() | {"collaborative.item": torch.zeros(99, 8)}
    with pytest.raises(CheckpointError, match="or other shapes; train the run again"):
        extended_scorer(run.recipe, run.scorer(), wide, prepared.corpus, {}, count=1)


def test_dense_weights_grow_by_rows_and_columns() -> None:
    """No model that uses content has dense weights now; the corner is that of any tensor."""
    from fuserec.index.extension import _with_new_rows

    old, fitted = ItemToItem(torch.ones(2, 2)), ItemToItem(torch.arange(9.0).reshape(3, 3))
    whole = _with_new_rows(old, fitted)
    assert whole.tensors()["weights"].tolist() == [[1.0, 1.0, 2.0], [1.0, 1.0, 5.0], [6.0, 7.0, 8.0]]
    assert placed(whole, 2).tolist() == [True]


def test_a_graph_that_is_wider_than_the_catalogue_is_padded() -> None:
    corpus = tiny_prepared(num_items=30).corpus
    few = replace(
        corpus.modalities[0],
        graph=KnnGraph(neighbours=torch.full((30, 40), -1, dtype=torch.int64), weights=torch.zeros(30, 40)),
    )
    corpus = replace(corpus, modalities=(few,))
    fitted = CLOSED_FORMS["content_knn"].build(recipe("content_knn").model).fit(corpus)
    whole = extended_scorer(recipe("content_knn"), fitted, {}, corpus, new_rows(corpus), count=5)
    assert placed(whole, 30).all()


def mufasa_run(tmp_path: Path, **options: Any) -> tuple[Run, Corpus]:
    prepared = tiny_prepared(titled=True)
    return trained(tmp_path, prepared, "mufasa", **options), prepared.corpus


def rows_of(corpus: Corpus, items: Tensor) -> dict[str, NewRows]:
    """New items with the content of some that are there."""
    rows = {}
    for modality in corpus.modalities:
        assert modality.features is not None
        rows[modality.name] = NewRows(features=modality.features[items], present=modality.present[items])
    return rows


@pytest.mark.parametrize(("_", "options"), BY_VECTORS)
def test_of_one_content_a_new_item_and_a_cold_one_have_one_vector(
    tmp_path: Path, _: str, options: dict[str, Any]
) -> None:
    run, corpus = mufasa_run(tmp_path, **options)
    cold = torch.nonzero(corpus.popularity() == 0)[:, 0]
    tensors = extended(run, corpus, rows_of(corpus, cold), len(cold)).tensors()
    for name in tensors.keys() & {"item", "border"}:
        torch.testing.assert_close(tensors[name][corpus.num_items :], tensors[name][cold])
    old = run.scorer().tensors()
    assert tensors.keys() == old.keys()
    assert all(torch.equal(tensors[name][: len(old[name])], old[name]) for name in old if old[name].dim())


def test_an_item_without_a_title_is_placed_nowhere_by_mufasa(tmp_path: Path) -> None:
    run, corpus = mufasa_run(tmp_path)
    rows = new_rows(corpus)
    whole = extended(run, corpus, rows)
    rows["title"].features[1] = 0.0
    rows["title"].present[3] = False
    fewer = extended(run, corpus, rows)
    assert placed(fewer, corpus.num_items).tolist() == [True, False, True, False, True]
    kept = [corpus.num_items + place for place in (0, 2, 4)]
    torch.testing.assert_close(fewer.tensors()["item"][kept], whole.tensors()["item"][kept])
    assert not placed(extended(run, corpus, {"image": rows["image"]}), corpus.num_items).any()


def test_a_history_with_a_new_item_is_heard(tmp_path: Path) -> None:
    run, corpus = mufasa_run(tmp_path)
    whole = extended(run, corpus, rows_of(corpus, torch.arange(3)), 3)
    first = corpus.num_items
    told = Histories.from_lists([[5, 6], [5, 6, first], [5, 6, first + 1]])
    found = scores(whole, Queries(users=torch.full((3,), -1), histories=told), 0, first)
    assert not torch.allclose(found[1], found[0])
    assert not torch.allclose(found[1], found[2])


def test_mufasa_by_ids_alone_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="got 'mufasa' with items = 'id', which knows items by their events"
    ):
        require_content(recipe("mufasa", items="id"))


def test_mufasa_takes_the_weights_of_its_run_alone(tmp_path: Path) -> None:
    run, corpus = mufasa_run(tmp_path)
    for other in ({}, run.weights() | {"item.map.weight": torch.zeros(8, 7)}):
        with pytest.raises(CheckpointError, match="or other shapes; train the run again"):
            extended_scorer(run.recipe, run.scorer(), other, corpus, {}, count=1)


def test_the_modalities_that_mufasa_reads_are_the_title_the_others_and_the_genres() -> None:
    corpus = tiny_prepared(titled=True, ready_graph=("sound",)).corpus
    for options, expected in (
        ({}, ["title", "text", "image", "category"]),
        ({"genres": ""}, ["title", "text", "image", "category"]),
        ({"modalities": ["image"]}, ["title", "image", "category"]),
        ({"modalities": ["image"], "genres": "", "title": "text"}, ["text", "image"]),
    ):
        used = used_modalities(recipe("mufasa", **options), corpus)
        assert [each.name for each in used] == expected
