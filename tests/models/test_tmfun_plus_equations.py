"""Every equation of docs/papers/tmfun_plus.md against dense float64 matrices and loops written from the text."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from fuserec.batch import Corpus, Histories, Modality, PairBatch
from fuserec.models.tmfun_plus import TmfunPlus, TmfunPlusConfig
from fuserec.testing.literal import assert_close, assert_same_losses, randomised, small_corpus


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


def begun(corpus: Corpus, **options: Any) -> TmfunPlus:
    """In float64 at the start of the first epoch, with parameters of about 1; the pruned graph is made in float32."""
    settings: dict[str, Any] = {"dim": 4, "num_neighbours": 3, "behaviour_neighbours": 4, **options}
    generator = torch.Generator().manual_seed(0)
    model = randomised(TmfunPlus(TmfunPlusConfig(**settings), corpus, generator=generator))
    model.begin_epoch()
    model.pruned.double()
    return model


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
    corpus = small_corpus(**{"missing": 0.3, **options})
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
    batch, parameters = some_pairs(corpus), dict(model.named_parameters())
    assert_same_losses(model.losses(batch), literal.losses(batch), parameters, literal.weights)


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


def test_what_a_positive_is_does_not_reach_its_own_user() -> None:
    corpus = small_corpus(num_cold=2)
    model, batch = begun(corpus), some_pairs(corpus)
    g = torch.randn(corpus.num_items, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    for place, positive in enumerate(batch.positives[:10].tolist()):
        changed = g.clone()
        changed[positive] += 10.0
        assert_close(model.others_in_history(batch, changed)[place], model.others_in_history(batch, g)[place])
