"""Every equation of docs/papers/mgcn.md against dense matrices and loops written from the text.

`Literal` shares no function with the model. Both compute in float64; only graphs are built in float32, which is
what the tolerances allow for.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import Any

import pytest
import torch
from torch import Tensor

from fuserec.batch import Corpus, Histories, KnnGraph, PairBatch
from fuserec.models.mgcn import Mgcn, MgcnConfig, ModalityView
from fuserec.testing.literal import assert_close, assert_same_losses, randomised, small_corpus

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as it stands": ({}, {}),
    "nothing missing": ({"missing": 0.0}, {}),
    "nearly all missing": ({"missing": 0.8}, {}),
    "three modalities": ({"modalities": ("text", "image", "audio")}, {}),
    "one modality": ({"modalities": ("text",)}, {}),
    "two of three, in another order": (
        {"modalities": ("text", "image", "audio")},
        {"modalities": ("audio", "text")},
    ),
    "no layers": ({}, {"num_layers": 0}),
    "one layer": ({}, {"num_layers": 1}),
    "three layers": ({}, {"num_layers": 3}),
    "two layers on the item graphs": ({}, {"item_layers": 2}),
    "every item its only neighbour": ({}, {"num_neighbours": 1}),
    "more neighbours than items": ({}, {"num_neighbours": 30}),
    "ready graph": ({"ready_graph": ("image",)}, {}),
    "graph only": ({"ready_graph": ("audio",)}, {"graph_features": 4}),
    "hot": ({}, {"temperature": 2.0}),
    "pairs repeat": ({"repeats": True}, {}),
}


class Literal:
    """MGCN, as the page has it."""

    def __init__(self, model: Mgcn, corpus: Corpus) -> None:
        self.config, self.corpus = model.config, corpus
        self.weights = {
            name: parameter.detach().clone().requires_grad_() for name, parameter in model.named_parameters()
        }
        known = {modality.name: modality for modality in corpus.modalities}
        self.names = list(model.config.modalities or known)
        self.present = [known[name].present.tolist() for name in self.names]
        self.users, self.items = corpus.num_users, corpus.num_items
        self.edges = set(zip(corpus.train.users.tolist(), corpus.train.items.tolist(), strict=True))
        self.warm = [any(i == item for _, item in self.edges) for i in range(self.items)]
        self.x = []
        for name in self.names:
            features = known[name].features
            if features is None:  # any eigenvectors will do here; what they are is tested elsewhere
                features = view_of(model, name).features
            self.x.append(features.double())
        self.graphs = [
            self._graph(m, known[name].features, known[name].graph) for m, name in enumerate(self.names)
        ]

    def _graph(self, m: int, features: Tensor | None, ready: KnnGraph | None) -> Tensor:
        s = torch.zeros(self.items, self.items, dtype=torch.float64)
        for i in range(self.items):
            if not self.present[m][i]:
                continue
            others = [j for j in range(self.items) if j != i and self.present[m][j]]
            if ready is not None:
                row = zip(ready.neighbours[i].tolist(), ready.weights[i].tolist(), strict=True)
                alike = {j: weight for j, weight in row if j in others}
            else:
                assert features is not None
                x = features.double()
                alike = {j: (x[i] @ x[j] / (x[i].norm() * x[j].norm())).item() for j in others}
                alike = dict(sorted(alike.items(), key=lambda pair: -pair[1]))
            for j in list(alike)[: self.config.num_neighbours - 1]:
                s[i, j] = alike[j]
            s[i, i] = 1.0
        degree = s.sum(1).tolist()
        a = torch.zeros_like(s)
        for i in range(self.items):
            for j in range(self.items):
                if degree[i] > 0 and degree[j] > 0:
                    a[i, j] = s[i, j] / math.sqrt(degree[i] * degree[j])
        return a

    @cached_property
    def incidence(self) -> Tensor:
        """1 where user u had item i."""
        had = [[float((u, i) in self.edges) for i in range(self.items)] for u in range(self.users)]
        return torch.tensor(had, dtype=torch.float64)

    @cached_property
    def gathering(self) -> Tensor:
        """1 / sqrt(d_u d_i) where user u had item i."""
        of_user, of_item = self.incidence.sum(1, keepdim=True), self.incidence.sum(0)
        return self.incidence / (of_user * of_item).clamp_min(1).sqrt()

    def having(self, node: int) -> list[int]:
        """Modalities of an item, or those that any of a user's items has."""
        items = [node - self.users]
        if node < self.users:
            items = torch.nonzero(self.incidence[node]).flatten().tolist()
        return [m for m in range(len(self.names)) if any(self.present[m][i] for i in items)]

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    @cached_property
    def layers(self) -> list[Tensor]:
        nodes = self.users + self.items
        graph = torch.zeros(nodes, nodes, dtype=torch.float64)
        graph[: self.users, self.users :], graph[self.users :, : self.users] = (
            self.gathering,
            self.gathering.T,
        )
        found = [torch.cat([self.weights["collaborative.user"], self.weights["collaborative.item"]])]
        for _ in range(self.config.num_layers):
            found.append(graph @ found[-1])
        return found

    @cached_property
    def z(self) -> Tensor:
        return torch.stack(self.layers).mean(0)

    @cached_property
    def h(self) -> list[Tensor]:
        """Of every modality, users and then items."""
        views = []
        for m, name in enumerate(self.names):
            gate = self.linear(
                f"views.{name}_view.gate", self.linear(f"views.{name}_view.projection", self.x[m])
            )
            warm = torch.tensor(self.warm, dtype=torch.float64)[:, None]
            spread = warm * self.weights["collaborative.item"] / (1 + torch.exp(-gate))
            for _ in range(self.config.item_layers):
                spread = self.graphs[m] @ spread
            views.append(torch.cat([self.gathering @ spread, spread]))
        return views

    def content(self, node: int, z: Tensor) -> Tensor:
        """What the fuser makes of the modalities of a user or an item."""
        having = self.having(node)
        if not having:
            return torch.zeros_like(z)
        w = self.weights
        logits = [
            torch.tanh(self.linear("attention", self.h[m][node])) @ w["attention_query"][:, 0] for m in having
        ]
        attention = torch.softmax(torch.stack(logits), 0)
        shared = attention @ torch.stack([self.h[m][node] for m in having])
        own = torch.zeros_like(z)
        for m in having:
            preference = 1 / (1 + torch.exp(-self.linear(f"views.{self.names[m]}_view.preference", z)))
            own = own + preference * (self.h[m][node] - shared)
        return shared + own / len(having)

    def info_nce(self, nodes: list[int]) -> Tensor:
        """Both directions, over the nodes that have content."""
        kept = [node for node in nodes if self.having(node)]
        if not kept:
            return torch.zeros((), dtype=torch.float64)
        content = torch.stack([self.content(node, self.z[node]) for node in kept])
        terms = []
        for one, other in ((content, self.z[kept]), (self.z[kept], content)):
            for place, row in enumerate(one):
                alike = other @ row / (other.norm(dim=1) * row.norm()) / self.config.temperature
                terms.append(torch.logsumexp(alike, 0) - alike[place])
        return torch.stack(terms).mean()

    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        users, positives, negatives = (
            part.tolist() for part in (batch.users, batch.positives, batch.negatives)
        )
        nodes = {*users, *(self.users + i for i in (*positives, *negatives))}
        e = {node: self.z[node] + self.content(node, self.z[node]) for node in nodes}
        ranking, penalty = [], []
        for u, i, j in zip(users, positives, negatives, strict=True):
            margin = e[u] @ e[self.users + i] - e[u] @ e[self.users + j]
            ranking.append(-torch.log(torch.sigmoid(margin)))
            rows = self.weights["collaborative.user"][u], *self.weights["collaborative.item"][[i, j]]
            penalty.append(torch.stack([row @ row for row in rows]).sum())
        of_users = self.info_nce(sorted(set(users)))
        of_items = self.info_nce(sorted({self.users + i for i in positives}))
        return {
            "bpr": torch.stack(ranking).mean(),
            "contrastive": of_users + of_items,
            "l2": torch.stack(penalty).mean(),
        }

    def item(self, i: int) -> Tensor:
        """A cold item has no behaviour: z = 0."""
        z = self.z[self.users + i] if self.warm[i] else torch.zeros(self.config.dim, dtype=torch.float64)
        return z + self.content(self.users + i, z)

    def new_user(self, history: list[int]) -> Tensor:
        """Fold-in: the propagation of z, and the items' fused content gathered as if by a user of the graph."""
        known = sorted({i for i in history if self.warm[i]})
        total = torch.zeros(self.config.dim, dtype=torch.float64)
        for i in known:
            node = self.users + i
            root = math.sqrt(len(known) * self.incidence[:, i].sum().item())
            for layer in self.layers[: self.config.num_layers]:
                total = total + layer[node] / root / (self.config.num_layers + 1)
            total = total + self.content(node, self.z[node]) / root
        return total


def view_of(model: Mgcn, name: str) -> ModalityView:
    view = model.views[f"{name}_view"]
    assert isinstance(view, ModalityView)
    return view


def scattered(corpus: Corpus) -> Corpus:
    """The same, with ready graphs that are hardly reciprocal and name absent items, themselves and nobody."""
    rng = torch.Generator().manual_seed(3)
    modalities = []
    for modality in corpus.modalities:
        if modality.graph is not None:
            drawn = torch.stack(
                [torch.randperm(corpus.num_items, generator=rng)[:4] for _ in modality.present]
            )
            drawn[4, 1:] = -1
            drawn[5, 0] = 5
            weights = torch.rand(drawn.shape, generator=rng).masked_fill(drawn < 0, 0.0)
            modality = replace(modality, graph=KnnGraph(neighbours=drawn, weights=weights))
        modalities.append(modality)
    return replace(corpus, modalities=tuple(modalities))


def both(case: str) -> tuple[Mgcn, Literal, Corpus]:
    """The model in float64 with every parameter drawn anew, and the literal one with the same parameters."""
    options, settings = CASES[case]
    corpus = scattered(small_corpus(**{"missing": 0.3, **options}))
    config = {"dim": 4, "num_neighbours": 4, "temperature": 0.4, **settings}
    model = randomised(Mgcn(MgcnConfig(**config), corpus, generator=torch.Generator().manual_seed(0)))
    return model, Literal(model, corpus), corpus


def batch(corpus: Corpus) -> PairBatch:
    """The pairs of all warm items but three, which are negatives only; others are positives and negatives."""
    warm = torch.nonzero(corpus.popularity()).squeeze(1)
    kept = ~torch.isin(corpus.train.items, warm[-3:]) & (corpus.train.users != 4)
    users, positives = corpus.train.users[kept], corpus.train.items[kept]
    negatives = warm[torch.randint(len(warm), (len(users),), generator=torch.Generator().manual_seed(2))]
    return PairBatch(users=users, positives=positives, negatives=negatives)


@pytest.mark.parametrize("case", CASES)
def test_losses_and_all_gradients_are_the_literal_ones(case: str) -> None:
    model, literal, corpus = both(case)
    pairs, parameters = batch(corpus), dict(model.named_parameters())
    assert_same_losses(model.losses(pairs), literal.losses(pairs), parameters, literal.weights)


@pytest.mark.parametrize("case", CASES)
def test_the_scorer_is_the_literal_one_for_cold_items_and_new_users_too(case: str) -> None:
    model, literal, _ = both(case)
    scorer = model.scorer()
    for u in range(literal.users):
        assert_close(scorer.user[u], (literal.z[u] + literal.content(u, literal.z[u])).detach(), f"user {u}")
    assert literal.warm.count(False) == 3
    for i in range(literal.items):
        assert_close(scorer.item[i], literal.item(i).detach(), f"item {i}")
    cold = literal.warm.index(False)
    histories = [[0, 5, 9], [cold, 7, 7], [cold], [], list(range(literal.items))]
    expected = torch.stack([literal.new_user(history) for history in histories]).detach()
    assert_close(scorer.fold_in(Histories.from_lists(histories)), expected)


@pytest.mark.parametrize("case", CASES)
def test_views_and_graphs_are_the_literal_ones_and_graphs_hold_their_true_transpose(case: str) -> None:
    model, literal, _ = both(case)
    for name, expected in zip(literal.names, literal.graphs, strict=True):
        matrix = view_of(model, name).graph.matrix
        assert_close(matrix.dense(), expected, name)
        assert_close(matrix.backward.to_dense(), expected.T, name)
    for (user_UD, item_ID), expected in zip(model.modality_features(), literal.h, strict=True):
        assert_close(torch.cat([user_UD, item_ID]), expected)
    every = torch.tensor(
        [[m in literal.having(node) for m in range(len(literal.names))] for node in range(29)]
    )
    assert torch.equal(torch.cat([model.present_UM, model.present_IM]), every)


def test_the_cases_meet_what_they_are_for() -> None:
    """Awkward users and items do occur in them."""
    _, literal, corpus = both("nearly all missing")
    asked = batch(corpus)
    assert len(set(asked.negatives.tolist()) - set(asked.positives.tolist())) == 3
    assert {len(literal.having(u)) for u in asked.users.tolist()} == {0, 1, 2}
    assert {len(literal.having(15 + i)) for i in asked.positives.tolist()} >= {0, 1}
    assert any(not literal.warm[i] and literal.having(15 + i) for i in range(14))
    _, literal, _ = both("ready graph")
    one_way = (literal.graphs[1] > 0) & (literal.graphs[1].T == 0)
    assert int(one_way.sum()) > 5
