from __future__ import annotations

from math import sqrt
from typing import ClassVar

import pytest
import torch

from fuserec.batch import Corpus, KnnGraph, Modality, Pairs
from fuserec.errors import ConfigError
from fuserec.models.content_graph import (
    EaseContent,
    EaseContentConfig,
    ItemKnnContent,
    ItemKnnContentConfig,
)
from fuserec.models.content_knn import content_neighbours
from fuserec.models.ease import ease_weights
from fuserec.models.item_knn import shrunk_cosine
from fuserec.ops.sum_rows import SparseRows
from fuserec.testing.contract import ModelContract
from fuserec.testing.corpora import tiny_corpus

SHARES = {"text": 0.8, "image": 0.2}


class TestItemKnnContent(ModelContract):
    model: ClassVar = ItemKnnContent
    config: ClassVar = ItemKnnContentConfig(shrinkage=5.0, weights=SHARES, neighbours=3)
    ignores_item_order: ClassVar[bool] = True


class TestEaseContent(ModelContract):
    model: ClassVar = EaseContent
    config: ClassVar = EaseContentConfig(regularisation=10.0, weights=SHARES, neighbours=3)
    ignores_item_order: ClassVar[bool] = True


def dense(weights: torch.Tensor | SparseRows) -> torch.Tensor:
    return weights if isinstance(weights, torch.Tensor) else weights.dense()


def normalised_literally(matrix: torch.Tensor) -> torch.Tensor:
    root = torch.where(matrix.sum(1) > 0, matrix.sum(1).rsqrt(), torch.tensor(0.0))
    return root[:, None] * matrix * root


def three_items() -> Corpus:
    """Item 0 has users 0 .. 3, item 1 user 0, item 2 nobody; by text 1 is like 0 (.5) and 2 like 1 (.25)."""
    graph = KnnGraph(neighbours=torch.tensor([[0], [0], [1]]), weights=torch.tensor([[1.0], [0.5], [0.25]]))
    return Corpus(
        num_users=4,
        num_items=3,
        train=Pairs(users=torch.tensor([0, 1, 2, 3, 0]), items=torch.tensor([0, 0, 0, 0, 1])),
        modalities=(Modality(name="text", present=torch.ones(3) > 0, graph=graph),),
    )


def test_item_knn_with_content_by_hand() -> None:
    config = ItemKnnContentConfig(shrinkage=8.0, weights={"text": 0.1})
    together = 1 / (sqrt(4 * 1) + 8)
    expected = [[0, together + 0.05, 0], [together + 0.05, 0, 0.025], [0, 0.025, 0]]
    found = dense(ItemKnnContent(config).fit(three_items()).weights)
    torch.testing.assert_close(found, torch.tensor(expected))


def test_ease_with_content_by_hand() -> None:
    config = EaseContentConfig(regularisation=2.0, content_weight=0.3, weights={"text": 1.0})
    # row sums of the graph: .5, .75, .25; roots of the popularity: 2, 1, 0 with mean 1
    first, second = 0.5 / sqrt(0.5 * 0.75), 0.25 / sqrt(0.75 * 0.25)
    ease = [[0, 1 / 6, 0], [1 / 3, 0, 0], [0, 0, 0]]
    content = [[0, first * 1, 0], [first * 2, 0, 0], [0, second * 1, 0]]
    expected = torch.tensor(ease) + 0.3 * torch.tensor(content)
    torch.testing.assert_close(dense(EaseContent(config).fit(three_items()).weights), expected)


def test_both_equal_their_parts_added_up() -> None:
    corpus = tiny_corpus(seed=3, ready_graph=("image",))
    content = {
        name: matrix.dense()
        for name, (_, matrix) in zip(SHARES, content_neighbours(corpus, SHARES, 4), strict=True)
    }

    together = shrunk_cosine(corpus, 7.0).dense() + 0.8 * content["text"] + 0.2 * content["image"]
    config = ItemKnnContentConfig(shrinkage=7.0, weights=SHARES, neighbours=4)
    torch.testing.assert_close(dense(ItemKnnContent(config).fit(corpus).weights), together)

    graph = 0.8 * normalised_literally(content["text"]) + 0.2 * normalised_literally(content["image"])
    root = corpus.popularity().float().sqrt()
    weights = ease_weights(corpus, 7.0, max_items=30) + 0.05 * graph * (root / root.mean())
    found = EaseContent(EaseContentConfig(regularisation=7.0, weights=SHARES, neighbours=4)).fit(corpus)
    torch.testing.assert_close(dense(found.weights), weights)


def test_without_content_weight_it_is_ease() -> None:
    corpus = tiny_corpus()
    found = EaseContent(EaseContentConfig(regularisation=7.0, content_weight=0.0)).fit(corpus)
    assert torch.equal(dense(found.weights), ease_weights(corpus, 7.0, max_items=30))


def test_no_weights_mean_every_modality() -> None:
    corpus = tiny_corpus()
    for model, named in (
        (ItemKnnContent(ItemKnnContentConfig()), ItemKnnContentConfig(weights={"text": 0.01, "image": 0.01})),
        (EaseContent(EaseContentConfig()), EaseContentConfig(weights={"text": 0.5, "image": 0.5})),
    ):
        same = type(model)(named)  # type: ignore[arg-type]
        assert torch.equal(dense(model.fit(corpus).weights), dense(same.fit(corpus).weights))


def test_what_has_no_meaning_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected shrinkage of at least 0, got -1"):
        ItemKnnContentConfig(shrinkage=-1.0)
    with pytest.raises(ConfigError, match="expected a weight of at least 0 for 'text', got -1"):
        ItemKnnContentConfig(weights={"text": -1.0})
    with pytest.raises(ConfigError, match="expected regularisation above 0, got -2"):
        EaseContentConfig(regularisation=-2.0)
    with pytest.raises(ConfigError, match=r"expected content_weight of at least 0, got -0\.1"):
        EaseContentConfig(content_weight=-0.1)
    with pytest.raises(ConfigError, match="expected neighbours of at least 1, got 0"):
        EaseContentConfig(neighbours=0)
    with pytest.raises(ConfigError, match="got 'txt'; did you mean 'text'"):
        EaseContent(EaseContentConfig(weights={"txt": 1.0})).fit(tiny_corpus())
    with pytest.raises(ConfigError, match="expected a dataset with at least one modality, got none"):
        ItemKnnContent(ItemKnnContentConfig()).fit(tiny_corpus(modalities=()))
