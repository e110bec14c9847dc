from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from fuserec.batch import Corpus, KnnGraph, Modality, PairBatch
from fuserec.errors import ConfigError
from fuserec.models.freedom import Freedom, FreedomConfig, frozen_item_graph
from fuserec.testing.contract import GradientContract
from fuserec.testing.corpora import tiny_corpus


class TestContract(GradientContract):
    model: ClassVar[Any] = Freedom
    config: ClassVar[Any] = FreedomConfig(dim=8)


class TestContractUnpruned(TestContract):
    config: ClassVar[Any] = FreedomConfig(dim=8, kept_share=1.0, item_layers=2, weights={"text": 1.0})


BATCH = PairBatch(
    users=torch.tensor([0, 3, 3, 14]),
    positives=torch.tensor([1, 4, 1, 7]),
    negatives=torch.tensor([4, 9, 4, 2]),
)


def small(**options: Any) -> Corpus:
    return tiny_corpus(num_users=15, num_items=14, events_per_user=6, num_cold=2, **options)


def built(corpus: Corpus, **options: Any) -> Freedom:
    """In float64, at the start of the first epoch, with parameters of length about 1."""
    model = Freedom(
        FreedomConfig(dim=4, num_neighbours=4, **options), corpus, generator=torch.Generator().manual_seed(0)
    ).double()
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for table in model.parameters():
            table.copy_(torch.randn(table.shape, generator=rng))
    return model


def literal_item_graph(modality: Modality, k: int) -> Tensor:
    """Eq. (1) to (3), row by row: itself and its k - 1 nearest others, each 1 / sqrt of both row counts."""
    num_items = len(modality.present)
    chosen: list[list[int]] = []
    for item in range(num_items):
        if not modality.present[item]:
            chosen.append([])
            continue
        if modality.graph is not None:
            row = modality.graph.neighbours[item].tolist()
            others = [j for j in row if j >= 0 and j != item and bool(modality.present[j])]
        else:
            assert modality.features is not None
            unit = torch.nn.functional.normalize(modality.features.double(), dim=1)
            cosine = unit @ unit[item]
            others = [j for j in range(num_items) if j != item and bool(modality.present[j])]
            others.sort(key=lambda j, cosine=cosine: (-float(cosine[j]), j))  # type: ignore[misc]
        chosen.append([item, *others[: k - 1]])
    graph = torch.zeros(num_items, num_items, dtype=torch.float64)
    for item, row in enumerate(chosen):
        for other in row:
            graph[item, other] = (len(row) * len(chosen[other])) ** -0.5
    return graph


@pytest.mark.parametrize("ready", [(), ("text", "image")])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_item_graph_is_the_weighted_sum_of_unweighted_nearest_neighbours(
    k: int, ready: tuple[str, ...]
) -> None:
    corpus = small(ready_graph=ready)
    found = frozen_item_graph(list(zip(corpus.modalities, (0.1, 0.9), strict=True)), k=k)
    expected = sum(
        alpha * literal_item_graph(modality, k)
        for modality, alpha in zip(corpus.modalities, (0.1, 0.9), strict=True)
    )
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(found.dense().double(), expected, atol=1e-6, rtol=1e-5)


def test_two_items_and_their_nearest_by_hand() -> None:
    present = torch.tensor([True, True, True])
    graph = KnnGraph(neighbours=torch.tensor([[0, 1], [2, 1], [-1, 0]]), weights=torch.ones(3, 2))
    modality = Modality(name="text", present=present, graph=graph)
    half = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5]])
    torch.testing.assert_close(frozen_item_graph([(modality, 1.0)], k=2).dense(), half)


@pytest.mark.parametrize("num_layers", [0, 2])
@pytest.mark.parametrize("item_layers", [1, 2])
def test_the_losses_are_the_literal_ones_in_value_and_gradient(num_layers: int, item_layers: int) -> None:
    corpus = small()
    alphas = {"image": 0.1, "text": 0.9}
    model = built(corpus, num_layers=num_layers, item_layers=item_layers, weights=alphas, kept_share=0.5)
    model.begin_epoch()
    model.pruned.double()
    tables = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    user, item = tables["collaborative.user"], tables["collaborative.item"]
    nodes = corpus.num_users + corpus.num_items
    adjacency = torch.zeros(nodes, nodes, dtype=torch.float64)
    pruned = model.pruned.matrix.dense()
    adjacency[: corpus.num_users, corpus.num_users :] = pruned
    adjacency[corpus.num_users :, : corpus.num_users] = pruned.T
    layers = [torch.cat([user, item])]
    for _ in range(num_layers):
        layers.append(adjacency @ layers[-1])
    z_user, z_item = torch.stack(layers).mean(0).split([corpus.num_users, corpus.num_items])
    known = {modality.name: modality for modality in corpus.modalities}
    graph = 0.1 * literal_item_graph(known["image"], 4) + 0.9 * literal_item_graph(known["text"], 4)
    view = item * (corpus.popularity() > 0)[:, None]
    for _ in range(item_layers):
        view = graph @ view
    final = z_item + view
    ranking, content = [], []
    for u, i, j in zip(BATCH.users, BATCH.positives, BATCH.negatives, strict=True):
        ranking.append(-torch.log(torch.sigmoid(z_user[u] @ final[i] - z_user[u] @ final[j])))
        for name in alphas:
            modality, weight = known[name], tables[f"projections.{name}_content.weight"]
            assert modality.features is not None
            if modality.present[i] and modality.present[j]:
                one, other = (z_user[u] @ (modality.features[row].double() @ weight) for row in (i, j))
                content.append(-torch.log(torch.sigmoid(one - other)))
    expected = {"bpr": torch.stack(ranking).mean(), "content": torch.stack(content).sum() / len(BATCH.users)}
    found = model.losses(BATCH)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-6)
    (expected["bpr"] + 0.3 * expected["content"]).backward()
    (found["bpr"] + 0.3 * found["content"]).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, tables[name].grad, atol=1e-6, rtol=1e-5)


# -- pruning


def test_every_epoch_has_its_own_graph_and_the_same_seed_the_same_graphs() -> None:
    first, again = built(small(), kept_share=0.5), built(small(), kept_share=0.5)
    graphs = []
    for _ in range(2):
        first.begin_epoch()
        again.begin_epoch()
        assert torch.equal(first.pruned.matrix.dense(), again.pruned.matrix.dense())
        graphs.append(first.pruned.matrix.dense())
    assert not torch.equal(*graphs)


def test_a_model_with_the_saved_state_goes_on_with_the_same_graphs() -> None:
    first, other = (
        built(small(), kept_share=0.5),
        Freedom(
            FreedomConfig(dim=4, num_neighbours=4, kept_share=0.5),
            small(),
            generator=torch.Generator().manual_seed(9),
        ).double(),
    )
    first.begin_epoch()
    other.load_state_dict(first.state_dict())
    first.begin_epoch()
    other.begin_epoch()
    assert torch.equal(first.pruned.matrix.dense(), other.pruned.matrix.dense())


def test_scores_come_from_the_whole_graph() -> None:
    model = built(small(), kept_share=0.5)
    before = model.scorer()
    model.begin_epoch()
    assert torch.equal(before.user, model.scorer().user)
    user, item = model.collaborative()
    assert torch.equal(before.user, user)
    torch.testing.assert_close(before.item[1], item[1] + model.content_view()[1])


def test_a_cold_item_is_what_its_neighbours_are() -> None:
    corpus = small(missing=0.0)
    model = built(corpus)
    cold = torch.nonzero(corpus.popularity() == 0)[0]
    torch.testing.assert_close(model.scorer().item[cold], model.content_view()[cold])
    assert model.scorer().item[cold].any()


def test_what_a_cold_item_was_drawn_as_is_in_no_vector() -> None:
    model = built(small(missing=0.0), item_layers=2)
    before = model.scorer()
    with torch.no_grad():
        model.collaborative.item[model.collaborative.cold] += 100.0
    after = model.scorer()
    assert torch.equal(after.item, before.item)
    assert torch.equal(after.user, before.user)


# -- refusals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dim": 0}, "dim must be at least 1"),
        ({"num_layers": -1}, "num_layers must be at least 0"),
        ({"item_layers": 0}, "item_layers must be at least 1"),
        ({"num_neighbours": 0}, "expected num_neighbours of at least 1, got 0"),
        ({"kept_share": 0.0}, "kept_share must be above 0 and at most 1"),
        ({"kept_share": 1.1}, "kept_share must be above 0 and at most 1"),
        ({"weights": {"text": -1.0}}, "weight of at least 0"),
        ({"weights": {"text": 0.0}}, "weight above 0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        FreedomConfig(**options)


def test_a_modality_with_neither_features_nor_graph_is_refused() -> None:
    corpus = small()
    bare = Modality(name="text", present=torch.ones(corpus.num_items, dtype=torch.bool))
    with pytest.raises(ConfigError, match=r"^expected features or a graph for modality 'text', got neither$"):
        built(replace(corpus, modalities=(bare,)))


def test_a_modality_with_a_graph_only_has_no_projection() -> None:
    corpus = small(modalities=(), ready_graph=("text",))
    model = built(corpus)
    assert model.losses(BATCH)["content"].item() == 0.0
    assert model.content_view().any()
