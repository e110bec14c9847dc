from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from fuserec.batch import Corpus, Histories, PairBatch, Pairs
from fuserec.errors import ConfigError
from fuserec.models.lightgcn import LightGcn, LightGcnConfig
from fuserec.testing.contract import GradientContract
from fuserec.testing.corpora import tiny_corpus


class TestContract(GradientContract):
    model: ClassVar[Any] = LightGcn
    config: ClassVar[Any] = LightGcnConfig(dim=8)
    loss_weights: ClassVar[dict[str, float]] = {"l2": 1e-4}


class TestContractWithoutLayers(TestContract):
    config: ClassVar[Any] = LightGcnConfig(dim=8, num_layers=0)


def built(corpus: Corpus, **options: int) -> LightGcn:
    """In float64, with embeddings of length about 1."""
    model = LightGcn(
        LightGcnConfig(dim=4, **options), corpus, generator=torch.Generator().manual_seed(0)
    ).double()
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for table in model.parameters():
            table.copy_(torch.randn(table.shape, generator=rng))
    return model


def layers(corpus: Corpus, user: Tensor, item: Tensor, num_layers: int) -> list[Tensor]:
    """Eq. (7), literally: the dense graph of all nodes; users first. A pair that repeats is one edge."""
    edges = set(zip(corpus.train.users.tolist(), corpus.train.items.tolist(), strict=True))
    nodes = corpus.num_users + corpus.num_items
    adjacency = torch.zeros(nodes, nodes, dtype=torch.float64)
    for u, i in edges:
        of_user = sum(1 for edge in edges if edge[0] == u)
        of_item = sum(1 for edge in edges if edge[1] == i)
        adjacency[u, corpus.num_users + i] = adjacency[corpus.num_users + i, u] = (of_user * of_item) ** -0.5
    found = [torch.cat([user, item])]
    for _ in range(num_layers):
        found.append(adjacency @ found[-1])
    return found


def small(*, repeats: bool = False) -> Corpus:
    return tiny_corpus(num_users=15, num_items=14, events_per_user=6, num_cold=2, repeats=repeats)


BATCH = PairBatch(
    users=torch.tensor([0, 3, 3, 14]),
    positives=torch.tensor([1, 4, 1, 7]),
    negatives=torch.tensor([4, 9, 4, 2]),
)


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("num_layers", [0, 1, 2, 3])
def test_the_losses_are_the_literal_ones_in_value_and_gradient(num_layers: int, *, repeats: bool) -> None:
    corpus = small(repeats=repeats)
    model = built(corpus, num_layers=num_layers)
    user, item = (table.detach().clone().requires_grad_() for table in model.parameters())
    mean = torch.stack(layers(corpus, user, item, num_layers)).mean(0)
    ranking, penalty = [], []
    for u, i, j in zip(
        *(part.tolist() for part in (BATCH.users, BATCH.positives, BATCH.negatives)), strict=True
    ):
        z_u, z_i, z_j = (mean[node] for node in (u, corpus.num_users + i, corpus.num_users + j))
        ranking.append(-torch.log(torch.sigmoid(z_u @ z_i - z_u @ z_j)))
        penalty.append((user[u] ** 2).sum() + (item[i] ** 2).sum() + (item[j] ** 2).sum())
    expected = {"bpr": torch.stack(ranking).mean(), "l2": torch.stack(penalty).mean()}
    found = model.losses(BATCH)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-8)
        gradients = torch.autograd.grad(found[name], list(model.parameters()), retain_graph=True)
        literal = torch.autograd.grad(value, [user, item], retain_graph=True)
        torch.testing.assert_close(gradients, literal, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("num_layers", [0, 1, 3])
def test_the_scorer_holds_the_mean_of_the_layers_and_zero_for_items_never_trained(num_layers: int) -> None:
    corpus = small()
    model = built(corpus, num_layers=num_layers)
    user, item = (table.detach() for table in model.parameters())
    mean = torch.stack(layers(corpus, user, item, num_layers)).mean(0)
    scorer = model.scorer()
    torch.testing.assert_close(scorer.user, mean[: corpus.num_users], rtol=1e-6, atol=1e-7)
    cold = corpus.popularity() == 0
    assert int(cold.sum()) == 2
    assert not scorer.item[cold].any()
    torch.testing.assert_close(scorer.item[~cold], mean[corpus.num_users :][~cold], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("num_layers", [0, 1, 2, 3])
@pytest.mark.parametrize("repeats", [False, True])
def test_a_new_user_is_folded_in_by_the_literal_formula(num_layers: int, *, repeats: bool) -> None:
    # z_u = 1 / (L + 1) sum over l = 1..L, over the items i, of Z_I^(l-1) / sqrt(n_u d_i)
    corpus = small(repeats=repeats)
    model = built(corpus, num_layers=num_layers)
    tables = layers(corpus, model.collaborative.user.detach(), model.collaborative.item.detach(), num_layers)
    cold = torch.nonzero(corpus.popularity() == 0)[0, 0].item()
    warm = torch.nonzero(corpus.popularity())[:4, 0].tolist()
    users_of = {i: set(corpus.train.users[corpus.train.items == i].tolist()) for i in warm}
    expected = torch.zeros(4, dtype=torch.float64)
    for table in tables[:num_layers]:
        for i in warm:
            expected += table[corpus.num_users + i] / (len(warm) * len(users_of[i])) ** 0.5 / (num_layers + 1)
    found = model.scorer().fold_in(Histories.from_lists([[*warm, warm[0], int(cold)]]))
    torch.testing.assert_close(found[0], expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("repeats", [False, True])
def test_folding_in_a_trained_users_own_items_gives_the_vector_less_the_own_embedding(
    *, repeats: bool
) -> None:
    corpus = small(repeats=repeats)
    model = built(corpus, num_layers=2)
    scorer = model.scorer()
    own = Histories.of(corpus.train, num_users=corpus.num_users)
    torch.testing.assert_close(
        scorer.fold_in(own), scorer.user - model.collaborative.user.detach() / 3, rtol=1e-5, atol=1e-7
    )


def test_without_layers_it_is_matrix_factorisation() -> None:
    model = built(small(), num_layers=0)
    user, item = (table.detach() for table in model.parameters())
    scorer = model.scorer()
    assert torch.equal(scorer.user, user)
    margin = (user[BATCH.users] * (item[BATCH.positives] - item[BATCH.negatives])).sum(1)
    torch.testing.assert_close(model.losses(BATCH)["bpr"], -margin.sigmoid().log().mean())


def test_one_user_and_one_item_by_hand() -> None:
    train = Pairs(users=torch.tensor([0]), items=torch.tensor([0]))
    model = LightGcn(
        LightGcnConfig(dim=1, num_layers=1),
        Corpus(num_users=1, num_items=2, train=train),
        generator=torch.Generator().manual_seed(0),
    )
    with torch.no_grad():
        model.collaborative.user.copy_(torch.tensor([[2.0]]))
        model.collaborative.item.copy_(torch.tensor([[4.0], [100.0]]))
    scorer = model.scorer()
    # both are (2 + 4) / 2; the item that nobody had is zero; a new user with item 0 gets 4 / 2
    assert scorer.user.tolist() == [[3.0]]
    assert scorer.item.tolist() == [[3.0], [0.0]]
    assert scorer.fold.tolist() == [[2.0], [0.0]]


def test_content_is_not_used() -> None:
    with_content, without = (tiny_corpus(modalities=names) for names in (("text",), ()))
    with_content = Corpus(
        num_users=without.num_users,
        num_items=without.num_items,
        train=without.train,
        modalities=with_content.modalities,
    )
    one, other = (
        LightGcn(LightGcnConfig(dim=4), corpus, generator=torch.Generator().manual_seed(0)).losses(BATCH)
        for corpus in (with_content, without)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, "dim must be at least 1, got 0"),
        ({"num_layers": -1}, "num_layers must be at least 0, got -1"),
    ],
)
def test_a_wrong_option_says_what_is_expected(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}$"):
        LightGcnConfig(**options)
