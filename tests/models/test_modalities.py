from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from fuserec.batch import KnnGraph, Modality
from fuserec.errors import ConfigError
from fuserec.models.freedom import Freedom, FreedomConfig
from fuserec.models.modalities import choose, neighbour_graph, others_at_most, others_first
from fuserec.models.tmfun_plus import TmfunPlus, TmfunPlusConfig
from fuserec.testing.corpora import tiny_corpus


def test_modalities_come_in_the_order_asked_for_and_all_where_none_is() -> None:
    corpus = tiny_corpus()
    names = [modality.name for modality in corpus.modalities]
    assert [modality.name for modality in choose(corpus, names[::-1])] == names[::-1]
    assert [modality.name for modality in choose(corpus, [])] == names


def test_an_unknown_name_and_a_dataset_without_content_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"^expected a modality of the dataset, got 'txt'; did you mean 'text'\?$"
    ):
        choose(tiny_corpus(), ["txt"])
    with pytest.raises(
        ConfigError, match=r"^expected a dataset with at least one modality, got none; attach"
    ):
        choose(tiny_corpus(modalities=()), [])


@pytest.mark.parametrize(("model", "config"), [(Freedom, FreedomConfig), (TmfunPlus, TmfunPlusConfig)])
def test_a_model_on_content_graphs_refuses_an_unknown_modality_and_a_dataset_without_any(
    model: Callable[..., nn.Module], config: Callable[..., Any]
) -> None:
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(
        ConfigError, match="expected a modality of the dataset, got 'txt'; did you mean 'text'"
    ):
        model(config(weights={"txt": 1.0}), tiny_corpus(), generator=generator)
    with pytest.raises(ConfigError, match="at least one modality"):
        model(config(), tiny_corpus(modalities=()), generator=generator)


def test_no_more_neighbours_are_searched_than_there_are_others() -> None:
    modality = Modality(name="text", present=torch.ones(3, dtype=torch.bool), features=torch.eye(3))
    assert neighbour_graph(modality, 2**62).neighbours.shape == (3, 2)
    assert [others_at_most(k, 4) for k in (1, 3, 4, 2**62)] == [1, 3, 3, 3]
    assert others_at_most(5, 1) == 1


def test_a_ready_graph_is_taken_as_it_is_before_features() -> None:
    graph = KnnGraph(
        neighbours=torch.tensor([[1, 0], [0, -1]]), weights=torch.tensor([[0.5, 1.0], [0.5, 0.0]])
    )
    present = torch.ones(2, dtype=torch.bool)
    assert (
        neighbour_graph(Modality(name="text", present=present, graph=graph, features=torch.eye(2)), 1)
        is graph
    )
    found = neighbour_graph(Modality(name="text", present=present, features=torch.ones(2, 1)), 1)
    assert found.neighbours.tolist() == [[1], [0]]
    with pytest.raises(ConfigError, match=r"^expected features or a graph for modality 'text', got neither$"):
        neighbour_graph(Modality(name="text", present=present), 1)


def test_the_item_itself_and_absent_ones_give_way_to_the_next() -> None:
    graph = KnnGraph(
        neighbours=torch.tensor([[0, 2, 1, 3], [1, 0, 3, -1], [0, 1, 3, 2], [2, 3, 0, 1]]),
        weights=torch.tensor(
            [[1.0, 0.9, 0.8, 0.7], [1.0, 0.6, 0.5, 0.0], [0.4, 0.3, 0.2, 0.1], [1.0, 0.9, 0.8, 0.7]]
        ),
    )
    found = others_first(graph, torch.tensor([True, True, False, True]), 2)
    assert found.neighbours.tolist() == [[1, 3], [0, 3], [-1, -1], [0, 1]]
    torch.testing.assert_close(found.weights, torch.tensor([[0.8, 0.7], [0.6, 0.5], [0.0, 0.0], [0.8, 0.7]]))
