from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from fuserec.batch import Corpus, KnnGraph, Modality, Pairs
from fuserec.errors import ConfigError
from fuserec.models.content_knn import ContentKnn, ContentKnnConfig, content_neighbours
from fuserec.models.item_to_item import ItemToItem
from fuserec.ops.sum_rows import SparseRows
from fuserec.testing.contract import ModelContract
from fuserec.testing.corpora import tiny_corpus


class TestContentKnn(ModelContract):
    model: ClassVar = ContentKnn
    config: ClassVar = ContentKnnConfig(weights={"text": 1.0, "image": 0.25}, neighbours=3)
    ignores_item_order: ClassVar[bool] = True


def corpus_of(*modalities: Modality) -> Corpus:
    train = Pairs(users=torch.tensor([0]), items=torch.tensor([0]))
    return Corpus(num_users=1, num_items=3, train=train, modalities=modalities)


TEXT = Modality(
    name="text",
    present=torch.tensor([True, True, True]),
    graph=KnnGraph(
        neighbours=torch.tensor([[0, 1], [2, 1], [2, -1]]),
        weights=torch.tensor([[1, 0.5], [0.25, 1], [1, 0]]),
    ),
)
IMAGE = Modality(
    name="image",
    present=torch.tensor([True, False, True]),
    features=torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]]),
)


def weights_of(scorer: ItemToItem) -> torch.Tensor:
    assert isinstance(scorer.weights, SparseRows)
    return scorer.weights.dense()


def test_modalities_add_up_by_hand_and_a_missing_one_adds_nothing() -> None:
    scorer = ContentKnn(ContentKnnConfig(weights={"text": 2.0, "image": 1.0})).fit(corpus_of(TEXT, IMAGE))
    expected = torch.tensor([[0.0, 1.0, 0.6], [1.0, 0.0, 0.5], [0.6, 0.5, 0.0]])
    torch.testing.assert_close(weights_of(scorer), expected)


def test_modalities_not_named_are_not_used_and_no_names_mean_all() -> None:
    both = corpus_of(TEXT, IMAGE)
    text_only = ContentKnn(ContentKnnConfig(weights={"text": 1.0})).fit(both)
    assert torch.equal(weights_of(text_only), weights_of(ContentKnn(ContentKnnConfig()).fit(corpus_of(TEXT))))
    named = ContentKnn(ContentKnnConfig(weights={"text": 1.0, "image": 1.0})).fit(both)
    assert torch.equal(weights_of(ContentKnn(ContentKnnConfig()).fit(both)), weights_of(named))


def test_a_ready_graph_stands_in_for_features() -> None:
    ready = Modality(name="image", present=IMAGE.present, features=IMAGE.features, graph=TEXT.graph)
    [(_, found)] = content_neighbours(corpus_of(ready), {}, 10)
    # item 1 has no image, so the graph's edges to it are left out
    assert not found.dense().any()


def test_neighbours_limit_the_graph_made_from_features() -> None:
    corpus = tiny_corpus(modalities=("text",), missing=0.0)
    few, many = (content_neighbours(corpus, {}, k)[0][1] for k in (1, 29))
    assert corpus.num_items <= len(few.values) <= 2 * corpus.num_items
    assert len(many.values) > 2 * len(few.values)


def test_what_has_no_meaning_is_refused() -> None:
    with pytest.raises(ConfigError, match="got 'txt'; did you mean 'text'"):
        ContentKnn(ContentKnnConfig(weights={"txt": 1.0})).fit(corpus_of(TEXT))
    with pytest.raises(ConfigError, match="expected a dataset with at least one modality, got none"):
        ContentKnn(ContentKnnConfig()).fit(corpus_of())
    bare = Modality(name="text", present=TEXT.present)
    with pytest.raises(ConfigError, match="expected features or a graph for modality 'text', got neither"):
        ContentKnn(ContentKnnConfig()).fit(corpus_of(bare))
    with pytest.raises(ConfigError, match="expected a weight of at least 0 for 'text', got -1"):
        ContentKnnConfig(weights={"text": -1.0})
    with pytest.raises(ConfigError, match="expected a weight above 0 for at least one modality"):
        ContentKnnConfig(weights={"text": 0.0})
    with pytest.raises(ConfigError, match="expected neighbours of at least 1, got 0"):
        ContentKnnConfig(neighbours=0)
