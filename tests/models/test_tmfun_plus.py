from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from fuserec.batch import Corpus, Histories, KnnGraph, Modality, PairBatch, Pairs
from fuserec.errors import ConfigError
from fuserec.models.tmfun_plus import TmfunPlus, TmfunPlusConfig, item_graph, mean_of_rows
from fuserec.models.two_tower import TwoTower
from fuserec.ops.graph import SparseMatrix, propagate
from fuserec.testing.contract import GradientContract
from fuserec.testing.corpora import NUM_GROUPS, opposed_neighbours, tiny_corpus


class TestContract(GradientContract):
    model: ClassVar[Any] = TmfunPlus
    config: ClassVar[Any] = TmfunPlusConfig(dim=8)


class TestContractWithoutHistory(TestContract):
    config: ClassVar[Any] = TmfunPlusConfig(dim=8, history=False)


class TestContractWithoutBehaviour(TestContract):
    config: ClassVar[Any] = TmfunPlusConfig(dim=8, behaviour_weight=0.0, max_items=1)


class TestContractTwoItemLayers(TestContract):
    config: ClassVar[Any] = TmfunPlusConfig(dim=8, item_layers=2, weights={"text": 1.0})


class TestContractWholeGraphs(TestContract):
    config: ClassVar[Any] = TmfunPlusConfig(dim=8, kept_share=1.0, thinned_share=0.0)


def small(**options: Any) -> Corpus:
    drawn: dict[str, Any] = {"num_users": 15, "num_items": 14, "events_per_user": 6, "num_cold": 2}
    return tiny_corpus(**{**drawn, **options})


def built(corpus: Corpus, *, seed: int = 0, **options: Any) -> TmfunPlus:
    """In float64, before the first epoch, with parameters of length about 1."""
    settings: dict[str, Any] = {"dim": 4, "num_neighbours": 3, "behaviour_neighbours": 4, **options}
    model = TmfunPlus(
        TmfunPlusConfig(**settings), corpus, generator=torch.Generator().manual_seed(seed)
    ).double()
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng))
    return model


def begun(corpus: Corpus, **options: Any) -> TmfunPlus:
    """At the start of the first epoch; the pruned graph is made in float32."""
    model = built(corpus, **options)
    model.begin_epoch()
    model.pruned.double()
    return model


def assert_close(found: Tensor, expected: Tensor, what: str = "") -> None:
    """As far as graphs in float32 allow."""
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6, msg=lambda text: f"{what} {text}")


# -- the equations of docs/papers/tmfun_plus.md, against dense float64 matrices and loops


class Literal:
    """It takes from the model its parameters and which entries this epoch's graphs have, no number of a graph."""

    def __init__(self, model: TmfunPlus, corpus: Corpus) -> None:
        self.config, self.corpus = model.config, corpus
        self.users, self.items = corpus.num_users, corpus.num_items
        self.weights = {
            name: parameter.detach().clone().requires_grad_() for name, parameter in model.named_parameters()
        }
        self.pairs = set(zip(corpus.train.users.tolist(), corpus.train.items.tolist(), strict=True))
        self.warm = [any(i == item for _, item in self.pairs) for i in range(self.items)]
        self.kept = {(u, i) for u, i in model.pruned.matrix.dense().nonzero().tolist()}
        self.whole = self.whole_item_graph()
        there = model.item_graph.matrix.dense() != 0
        self.thinned = torch.where(there, self.whole / (1 - self.config.thinned_share), 0.0)

    def whole_item_graph(self) -> Tensor:
        """(2), before the epoch thins it."""
        names = list(self.config.weights) or [modality.name for modality in self.corpus.modalities]
        total = torch.zeros(self.items, self.items, dtype=torch.float64)
        for modality in self.corpus.modalities:
            if modality.name in names:
                weight = self.config.weights.get(modality.name, 1 / len(names))
                total = total + weight * self.content(modality)
        if self.config.behaviour_weight > 0:
            total = total + self.config.behaviour_weight * self.behaviour()
        return total

    def content(self, modality: Modality) -> Tensor:
        present = [i for i in range(self.items) if modality.present[i]]
        s = torch.zeros(self.items, self.items, dtype=torch.float64)
        for i in present:
            if modality.graph is not None:
                row = zip(
                    modality.graph.neighbours[i].tolist(), modality.graph.weights[i].tolist(), strict=True
                )
                alike = {j: weight for j, weight in row if j in present and j != i}
            else:
                assert modality.features is not None
                x = modality.features.double()
                alike = {j: float(x[i] @ x[j] / (x[i].norm() * x[j].norm())) for j in present if j != i}
                nearest = sorted(alike, key=lambda j, alike=alike: -alike[j])  # type: ignore[misc]
                alike = {j: alike[j] for j in nearest[: self.config.num_neighbours]}
            for j, weight in alike.items():
                s[i, j] = weight
        s = torch.maximum(s, s.T)
        for i in present:
            s[i, i] = 1.0
        return self.divided(s, s.sum(1), s.sum(1))

    def behaviour(self) -> Tensor:
        x = torch.zeros(self.users, self.items, dtype=torch.float64)
        for u, i in self.pairs:
            x[u, i] = 1.0
        p = torch.linalg.inv(
            x.T @ x + self.config.regularisation * torch.eye(self.items, dtype=torch.float64)
        )
        b = torch.zeros_like(p)
        for j in range(self.items):
            ease = {i: -float(p[i, j] / p[j, j]) for i in range(self.items) if i != j}
            for i in sorted(ease, key=lambda i: -ease[i])[: self.config.behaviour_neighbours]:
                b[j, i] = max(ease[i], 0.0)
        return self.divided(b, b.sum(1), b.sum(0))

    def divided(self, s: Tensor, of_rows: Tensor, of_columns: Tensor) -> Tensor:
        a = torch.zeros_like(s)
        for i in range(self.items):
            for j in range(self.items):
                if s[i, j] != 0:
                    a[i, j] = s[i, j] / math.sqrt(of_rows[i] * of_columns[j])
        return a

    def z(self, pairs: set[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        """(1)."""
        graph = torch.zeros(self.users + self.items, self.users + self.items, dtype=torch.float64)
        for u, i in pairs:
            degrees = len([1 for v, _ in pairs if v == u]) * len([1 for _, j in pairs if j == i])
            graph[u, self.users + i] = graph[self.users + i, u] = degrees**-0.5
        layers = [torch.cat([self.weights["collaborative.user"], self.weights["collaborative.item"]])]
        for _ in range(self.config.num_layers):
            layers.append(graph @ layers[-1])
        z_user, z_item = torch.stack(layers).mean(0).split([self.users, self.items])
        return z_user, z_item

    def g(self, graph: Tensor) -> Tensor:
        """(3)."""
        ids = self.weights["collaborative.item"] * torch.tensor(self.warm, dtype=torch.float64)[:, None]
        for _ in range(self.config.item_layers):
            ids = graph @ ids
        return self.weights["item_scale"] * ids

    def user(self, z: Tensor, g: Tensor, history: list[int], left_out: int = -1) -> Tensor:
        """(5)."""
        if not self.config.history or not history:
            return z
        total = torch.zeros_like(z)
        for j in history:
            if j != left_out:
                total = total + g[j]
        return z + self.weights["history_scale"] * total / len(history)

    def item(self, i: int, z: Tensor, g: Tensor) -> Tensor:
        """(4) and (7), on the whole graph."""
        if self.warm[i]:
            return z[i] + g[i]
        total, weight = torch.zeros_like(z[i]), 0.0
        for j in range(self.items):
            if self.warm[j] and self.whole[i, j] > 0:
                total, weight = total + self.whole[i, j] * (z[j] + g[j]), weight + float(self.whole[i, j])
        return self.config.cold_scale * total / weight if weight > 0 else torch.zeros_like(total)

    def history_of(self, u: int) -> list[int]:
        return sorted(i for v, i in self.pairs if v == u)

    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        """(4) to (6)."""
        (z_user, z_item), g = self.z(self.kept), self.g(self.thinned)
        ranking, penalty = [], []
        triples = zip(batch.users.tolist(), batch.positives.tolist(), batch.negatives.tolist(), strict=True)
        for u, i, j in triples:
            user = self.user(z_user[u], g, self.history_of(u), left_out=i)
            positive, negative = z_item[i] + g[i], z_item[j] + g[j]
            ranking.append(-torch.log(torch.sigmoid(user @ positive - user @ negative)))
            rows = self.weights["collaborative.user"][u], *self.weights["collaborative.item"][[i, j]]
            penalty.append(torch.stack([row @ row for row in rows]).sum())
        return {"bpr": torch.stack(ranking).mean(), "l2": torch.stack(penalty).sum() / len(penalty)}


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as it stands": ({}, {}),
    "nothing missing": ({"missing": 0.0}, {}),
    "nearly all missing": ({"missing": 0.8}, {}),
    "ready graph": ({"ready_graph": ("image",)}, {}),
    "a graph alone": ({"modalities": ("text",), "ready_graph": ("audio",)}, {}),
    "weights": ({}, {"weights": {"image": 0.2, "text": 0.9}}),
    "one modality of three": ({"modalities": ("text", "image", "audio")}, {"weights": {"audio": 0.7}}),
    "without behaviour": ({}, {"behaviour_weight": 0.0}),
    "behaviour counts more": (
        {},
        {"behaviour_weight": 2.5, "regularisation": 3.0, "behaviour_neighbours": 2},
    ),
    "more neighbours than items": ({}, {"behaviour_neighbours": 99}),
    "without history": ({}, {"history": False}),
    "two item layers": ({}, {"item_layers": 2}),
    "no user-item layers": ({}, {"num_layers": 0}),
    "three user-item layers": ({}, {"num_layers": 3}),
    "whole graphs": ({}, {"kept_share": 1.0, "thinned_share": 0.0}),
    "few entries": ({}, {"kept_share": 0.05, "thinned_share": 0.9}),
    "pairs repeat": ({"repeats": True}, {}),
    "louder cold items": ({}, {"cold_scale": 3.5}),
}


def case(name: str) -> tuple[TmfunPlus, Literal, Corpus]:
    options, settings = CASES[name]
    corpus = small(**{"num_cold": 3, "missing": 0.3, **options})
    model = begun(corpus, **{"kept_share": 0.5, "regularisation": 20.0, **settings})
    return model, Literal(model, corpus), corpus


def some_pairs(corpus: Corpus) -> PairBatch:
    """All training pairs, with any warm negatives."""
    warm = torch.nonzero(corpus.popularity()).squeeze(1)
    drawn = torch.randint(len(warm), (len(corpus.train),), generator=torch.Generator().manual_seed(2))
    return PairBatch(users=corpus.train.users, positives=corpus.train.items, negatives=warm[drawn])


@pytest.mark.parametrize("name", CASES)
def test_losses_and_all_gradients_are_the_literal_ones(name: str) -> None:
    """Eq. (1) to (6) together."""
    model, literal, corpus = case(name)
    batch = some_pairs(corpus)
    found, expected = model.losses(batch), literal.losses(batch)
    assert found.keys() == expected.keys()
    for term, value in expected.items():
        assert_close(found[term], value, term)
        ours, theirs = (
            torch.autograd.grad(loss, list(leaves.values()), retain_graph=True, materialize_grads=True)
            for loss, leaves in ((found[term], dict(model.named_parameters())), (value, literal.weights))
        )
        for parameter, one, other in zip(literal.weights, ours, theirs, strict=True):
            assert_close(one, other, f"{term} by {parameter}")


@pytest.mark.parametrize("name", CASES)
def test_the_item_graph_is_the_literal_one_and_an_epoch_sees_a_share_of_its_entries(name: str) -> None:
    """Eq. (2)."""
    model, literal, _ = case(name)
    assert_close(model.item_graph.full.matrix.dense(), literal.whole)
    assert_close(model.item_graph.matrix.dense(), literal.thinned)
    stored, seen = int((literal.whole != 0).sum()), int((literal.thinned != 0).sum())
    share = model.config.thinned_share
    assert abs(seen - stored * (1 - share)) <= 4 * math.sqrt(stored * share * (1 - share))


@pytest.mark.parametrize("name", CASES)
def test_the_scorer_is_the_literal_one_on_whole_graphs_for_cold_items_and_new_users_too(name: str) -> None:
    """Eq. (1) to (5) and (7)."""
    model, literal, _ = case(name)
    scorer = model.scorer()
    (z_user, z_item), g = literal.z(literal.pairs), literal.g(literal.whole)
    for u in range(literal.users):
        assert_close(scorer.user[u], literal.user(z_user[u], g, literal.history_of(u)).detach())
    assert literal.warm.count(False) == 3
    for i in range(literal.items):
        assert_close(scorer.item[i], literal.item(i, z_item, g).detach())
    cold = literal.warm.index(False)
    histories = [[0, 5, 9], [cold, 7, 7], [cold], [], list(range(literal.items))]
    no_content = torch.zeros_like(g)
    for history, found in zip(histories, scorer.fold_in(Histories.from_lists(histories)), strict=True):
        known = [i for i in sorted(set(history)) if literal.warm[i]]
        alone = replace(scorer, mean_fold=no_content.detach()).fold_in(Histories.from_lists([known]))[0]
        assert_close(found, literal.user(alone, g, known).detach())


def test_the_cases_meet_what_they_are_for() -> None:
    """Negative weights of EASE, one-way neighbours, items without a modality, pairs that repeat, graphs that differ."""
    model, literal, corpus = case("as it stands")
    b = literal.behaviour()
    assert bool(((b > 0) != (b.T > 0)).any())
    assert bool((b > 0).any())
    assert int((b > 0).sum(1).max()) == 4
    assert literal.kept < literal.pairs
    assert not torch.equal(model.item_graph.matrix.dense(), model.item_graph.full.matrix.dense())
    assert any(not modality.present.all() for modality in corpus.modalities)
    _, all_of_them, _ = case("more neighbours than items")
    assert int((all_of_them.behaviour() > 0).sum(1).max()) < all_of_them.items - 1
    _, repeated, again = case("pairs repeat")
    assert len(repeated.pairs) < len(again.train)


# -- by hand


def by_hand(*, num_users: int, pairs: list[tuple[int, int]], neighbours: list[int]) -> TmfunPlus:
    """Width 1, no layers, no behaviour, whole graphs; each item's one neighbour weighs 1."""
    users, items = (torch.tensor(column) for column in zip(*pairs, strict=True))
    ready = KnnGraph(
        neighbours=torch.tensor(neighbours)[:, None],
        weights=(torch.tensor(neighbours) >= 0).float()[:, None],
    )
    present = torch.ones(len(neighbours), dtype=torch.bool)
    corpus = Corpus(
        num_users=num_users,
        num_items=len(neighbours),
        train=Pairs(users=users, items=items),
        modalities=(Modality(name="text", present=present, graph=ready),),
    )
    config = TmfunPlusConfig(dim=1, num_layers=0, behaviour_weight=0.0, kept_share=1.0, thinned_share=0.0)
    return TmfunPlus(config, corpus, generator=torch.Generator().manual_seed(0))


def set_to(model: TmfunPlus, *, user: list[float], item: list[float], history_scale: float) -> None:
    with torch.no_grad():
        model.collaborative.user.copy_(torch.tensor(user)[:, None])
        model.collaborative.item.copy_(torch.tensor(item)[:, None])
        model.item_scale.fill_(1.0)
        model.history_scale.fill_(history_scale)


def test_a_history_leaves_out_the_positive_and_is_still_divided_by_all_of_it() -> None:
    """Items 0 and 1 are neighbours: each row of A is 1/2, 1/2; item 2 has itself alone. g = 3, 3, 6."""
    model = by_hand(num_users=2, pairs=[(0, 0), (0, 2), (1, 1), (1, 2)], neighbours=[1, 0, -1])
    set_to(model, user=[1.0, 1.0], item=[2.0, 4.0, 6.0], history_scale=2.0)
    batch = PairBatch(
        users=torch.tensor([0, 0]), positives=torch.tensor([0, 2]), negatives=torch.tensor([1, 1])
    )
    g = model.neighbour_view(model.item_graph.matrix)
    assert g.squeeze(1).tolist() == pytest.approx([3.0, 3.0, 6.0])
    # user 0 had 0 and 2: without 0, 6 / 2; without 2, 3 / 2
    assert model.others_in_history(batch, g).squeeze(1).tolist() == pytest.approx([3.0, 1.5])
    # users 1 + 2 x 3 and 1 + 2 x 1.5; items 2 + 3 against 4 + 3, and 6 + 6 against 7
    expected = (math.log1p(math.exp(7 * 2)) + math.log1p(math.exp(-4 * 5))) / 2
    assert model.losses(batch)["bpr"].item() == pytest.approx(expected)
    # at scoring the whole history speaks: 1 + 2 x (3 + 6) / 2, 1 + 2 x (3 + 6) / 2
    assert model.scorer().user.squeeze(1).tolist() == pytest.approx([10.0, 10.0])


def test_what_a_positive_is_does_not_reach_its_own_user() -> None:
    corpus = small()
    model, batch = begun(corpus), some_pairs(corpus)
    g = torch.randn(corpus.num_items, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    for place, positive in enumerate(batch.positives[:10].tolist()):
        changed = g.clone()
        changed[positive] += 10.0
        assert_close(model.others_in_history(batch, changed)[place], model.others_in_history(batch, g)[place])


def test_a_user_of_one_item_has_no_history_while_training() -> None:
    model = by_hand(num_users=1, pairs=[(0, 0)], neighbours=[1, 0])
    batch = PairBatch(users=torch.tensor([0]), positives=torch.tensor([0]), negatives=torch.tensor([0]))
    assert model.others_in_history(batch, torch.tensor([[3.0], [5.0]])).tolist() == [[0.0]]


def test_a_cold_item_by_hand() -> None:
    """Item 2 is cold and a neighbour of 0: both rows of A are 1/2, 1/2. It is twice item 0, its own embedding counts for nobody."""
    model = by_hand(num_users=1, pairs=[(0, 0), (0, 1)], neighbours=[2, -1, 0])
    set_to(model, user=[1.0], item=[2.0, 4.0, 100.0], history_scale=2.0)
    scorer = model.scorer()
    assert scorer.item.squeeze(1).tolist() == pytest.approx([2 + 1, 4 + 4, 2 * 3])
    assert scorer.user.squeeze(1).tolist() == pytest.approx([1 + 2 * (1 + 4) / 2])
    assert scorer.foldable.tolist() == [True, True, False]


def test_an_opposed_neighbour_neither_cancels_nor_blows_up_a_cold_item() -> None:
    """Item 2 is cold, like item 0 and the opposite of item 1: it is twice item 0, though its row of A sums to less than 0."""
    config = TmfunPlusConfig(dim=1, num_layers=0, behaviour_weight=0.0)
    model = TmfunPlus(config, opposed_neighbours(), generator=torch.Generator().manual_seed(0))
    set_to(model, user=[1.0], item=[2.0, 4.0, 100.0], history_scale=2.0)
    assert propagate(model.item_graph.full.matrix, torch.tensor([[1.0], [1.0], [0.0]]))[2] < 0
    assert model.scorer().item[[0, 2], 0].tolist() == pytest.approx([2 + 1, 2 * 3])


def test_a_mean_of_rows_has_the_same_places_and_leaves_empty_rows_empty() -> None:
    graph = SparseMatrix.from_entries(
        torch.tensor([0, 0, 2]), torch.tensor([1, 2, 0]), torch.tensor([5.0, 7.0, 9.0]), shape=(3, 3)
    )
    assert mean_of_rows(graph).dense().tolist() == [[0.0, 0.5, 0.5], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]


# -- scores


@pytest.mark.parametrize("num_layers", [0, 2])
def test_a_new_user_with_a_trained_ones_items_gets_the_same_less_the_own_embedding(num_layers: int) -> None:
    corpus = small()
    model = built(corpus, num_layers=num_layers)
    scorer = model.scorer()
    assert scorer.mean_fold is not None
    folded = scorer.fold_in(Histories.of(corpus.train, num_users=corpus.num_users))
    assert_close(folded, scorer.user - model.collaborative.user.detach() / (num_layers + 1))


def test_scores_come_from_the_whole_graphs() -> None:
    model = built(small(), kept_share=0.5)
    before = model.scorer()
    model.begin_epoch()
    after = model.scorer()
    assert torch.equal(before.user, after.user)
    assert torch.equal(before.item, after.item)


def test_without_history_a_user_is_the_collaborative_one_and_nothing_is_learnt_about_it() -> None:
    model = built(small(), history=False)
    assert "history_scale" not in dict(model.named_parameters())
    user, _ = model.collaborative()
    assert torch.equal(model.scorer().user, user)


# -- the graphs of the epochs


def graphs_of_the_epoch(model: TmfunPlus) -> tuple[Tensor, Tensor]:
    model.begin_epoch()
    return model.pruned.matrix.dense(), model.item_graph.matrix.dense()


def test_every_epoch_has_its_own_graphs_and_the_same_seed_the_same_graphs() -> None:
    first, again, other = built(small()), built(small()), built(small(), seed=9)
    seen = []
    for _ in range(2):
        drawn = graphs_of_the_epoch(first)
        for ours, same in zip(drawn, graphs_of_the_epoch(again), strict=True):
            assert torch.equal(ours, same)
        seen.append(drawn)
    for one, two, foreign in zip(*seen, graphs_of_the_epoch(other), strict=True):
        assert not torch.equal(one, two)
        assert not torch.equal(one, foreign)


def test_a_model_with_the_saved_state_goes_on_with_the_same_graphs() -> None:
    first, other = built(small()), built(small(), seed=9)
    graphs_of_the_epoch(first)
    other.load_state_dict(first.state_dict())
    for ours, same in zip(graphs_of_the_epoch(first), graphs_of_the_epoch(other), strict=True):
        assert torch.equal(ours, same)


def test_the_saved_state_is_the_parameters_and_the_two_draws() -> None:
    model = built(small())
    draws = {
        f"{graph}.draw.{part}" for graph in ("pruned", "item_graph") for part in ("seed", "epochs_begun")
    }
    assert model.state_dict().keys() == dict(model.named_parameters()).keys() | draws


# -- refusals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dim": 0}, "dim must be at least 1, got 0"),
        ({"num_layers": -1}, "num_layers must be at least 0, got -1"),
        ({"item_layers": 0}, "item_layers must be at least 1, got 0"),
        ({"num_neighbours": 0}, "expected num_neighbours of at least 1, got 0"),
        ({"behaviour_neighbours": 0}, "behaviour_neighbours must be at least 1, got 0"),
        ({"behaviour_weight": -0.1}, "behaviour_weight must be at least 0, got -0.1"),
        ({"behaviour_weight": math.nan}, "behaviour_weight must be at least 0, got nan"),
        ({"regularisation": 0.0}, "regularisation must be above 0, got 0.0"),
        ({"regularisation": math.nan}, "regularisation must be above 0, got nan"),
        ({"max_items": 0}, "max_items must be at least 1, got 0"),
        ({"kept_share": 0.0}, "kept_share must be above 0 and at most 1, got 0.0"),
        ({"kept_share": 1.1}, "kept_share must be above 0 and at most 1, got 1.1"),
        ({"thinned_share": -0.1}, "thinned_share must be at least 0 and below 1, got -0.1"),
        ({"thinned_share": 1.0}, "thinned_share must be at least 0 and below 1, got 1.0"),
        ({"cold_scale": 0.0}, "cold_scale must be above 0, got 0.0"),
        ({"weights": {"text": -1.0}}, "weight of at least 0 for 'text'"),
        ({"weights": {"text": 0.0}}, "weight above 0 for at least one modality"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TmfunPlusConfig(**options)


def test_a_catalogue_too_large_for_ease_is_refused_where_behaviour_counts() -> None:
    with pytest.raises(ConfigError, match="expected at most max_items = 13 items"):
        built(small(), max_items=13)
    config = TmfunPlusConfig(max_items=13, behaviour_weight=0.0)
    assert item_graph(config, small()).shape == (14, 14)


# -- learning


def trained(corpus: Corpus, *, steps: int = 80, **options: Any) -> TwoTower:
    rng = torch.Generator().manual_seed(0)
    model = TmfunPlus(TmfunPlusConfig(dim=8, num_neighbours=5, **options), corpus, generator=rng)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    warm = torch.nonzero(corpus.popularity()).squeeze(1)
    for step in range(steps):
        if step % 10 == 0:
            model.begin_epoch()
        chosen = torch.randint(len(corpus.train), (256,), generator=rng)
        drawn = warm[torch.randint(len(warm), (256,), generator=rng)]
        batch = PairBatch(
            users=corpus.train.users[chosen], positives=corpus.train.items[chosen], negatives=drawn
        )
        terms = model.losses(batch)
        optimiser.zero_grad()
        (terms["bpr"] + 1e-4 * terms["l2"]).backward()
        optimiser.step()
    return model.scorer()


def own_group_wins(user: Tensor, item: Tensor, among: Tensor) -> float:
    """How often an item of the user's own group is ranked before one of another; 1/2 by chance."""
    scores = (user @ item.T)[:, among]
    groups = torch.arange(len(item))[among] % NUM_GROUPS
    wins = [
        (row[groups == u % NUM_GROUPS][:, None] > row[groups != u % NUM_GROUPS]).float().mean()
        for u, row in enumerate(scores)
    ]
    return torch.stack(wins).mean().item()


def with_shuffled_content(corpus: Corpus) -> Corpus:
    modalities = []
    for modality in corpus.modalities:
        assert modality.features is not None
        order = torch.randperm(corpus.num_items, generator=torch.Generator().manual_seed(7))
        modalities.append(replace(modality, features=modality.features[order]))
    return replace(corpus, modalities=tuple(modalities))


@pytest.mark.parametrize("history", [True, False])
def test_it_learns_the_planted_groups_also_of_items_that_nobody_had_and_of_new_users(
    *, history: bool
) -> None:
    corpus = tiny_corpus(num_users=60, num_items=45, num_cold=12, missing=0.0)
    cold = corpus.popularity() == 0
    scorer = trained(corpus, history=history)
    folded = scorer.fold_in(Histories.of(corpus.train, num_users=corpus.num_users))
    for user in (scorer.user, folded):
        assert own_group_wins(user, scorer.item, ~cold) > 0.85
        assert own_group_wins(user, scorer.item, cold) > 0.85
    # the control: what cold items gain must come from content that fits them
    shuffled = trained(with_shuffled_content(corpus), history=history)
    assert own_group_wins(shuffled.user, shuffled.item, cold) < 0.65


# -- elsewhere


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_gives_the_losses_of_the_cpu_after_its_own_draws() -> None:
    corpus = tiny_corpus(ready_graph=("image",))
    on_cpu, on_gpu = (
        TmfunPlus(TmfunPlusConfig(dim=8), corpus, generator=torch.Generator().manual_seed(0))
        for _ in range(2)
    )
    on_gpu.cuda()
    batch = some_pairs(corpus)
    moved = PairBatch(
        users=batch.users.cuda(), positives=batch.positives.cuda(), negatives=batch.negatives.cuda()
    )
    on_cpu.begin_epoch()
    on_gpu.begin_epoch()
    expected = on_cpu.losses(batch)
    for name, value in on_gpu.losses(moved).items():
        torch.testing.assert_close(value.cpu(), expected[name], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(on_gpu.scorer().item.cpu(), on_cpu.scorer().item, rtol=1e-4, atol=1e-4)
