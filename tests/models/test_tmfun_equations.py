"""Every equation of docs/papers/tmfun.md, part 2, against dense matrices and loops written from the text.

`Literal` shares no function with the model. Both compute in float64; only graphs are built in float32, which is
what the tolerances allow for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor

from fuserec.batch import Corpus, Histories, KnnGraph, PairBatch, Queries
from fuserec.models.modality_graph import ModalityGraph
from fuserec.models.tmfun import Tmfun
from fuserec.models.tmfun_config import TmfunConfig
from fuserec.models.two_tower import TwoTower
from fuserec.testing.contract import all_scores
from fuserec.testing.literal import assert_close, assert_same_losses, randomised, small_corpus

GRAPH_ONLY = {"modalities": ("text", "image"), "ready_graph": ("audio",)}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as it stands": ({}, {}),
    "nothing missing": ({"missing": 0.0}, {}),
    "nearly all missing": ({"missing": 0.8}, {}),
    "three modalities": ({"modalities": ("text", "image", "audio")}, {}),
    "one modality": ({"modalities": ("text",)}, {}),
    "one modality, late only": ({"modalities": ("text",)}, {"steps": ("late",)}),
    "two of three, in another order": (
        {"modalities": ("text", "image", "audio")},
        {"modalities": ("audio", "text")},
    ),
    "no layers": ({}, {"num_layers": 0}),
    "one layer": ({}, {"num_layers": 1}),
    "three layers": ({}, {"num_layers": 3}),
    "late only": ({}, {"steps": ("late",)}),
    "early and late": ({}, {"steps": ("early", "late")}),
    "early only": ({}, {"steps": ("early",)}),
    "early only, the mean": ({}, {"steps": ("early",), "attention": False}),
    "learnt graphs alone": ({}, {"frozen_share": 0.0}),
    "frozen graphs alone": ({}, {"frozen_share": 1.0}),
    "directed": ({}, {"directed": True}),
    "ready graph, made symmetric": ({"ready_graph": ("image",)}, {}),
    "ready graph, directed": ({"ready_graph": ("image",)}, {"directed": True}),
    "graph only: eigenvectors": (GRAPH_ONLY, {"graph_features": 4}),
    "graph only, directed: eigenvectors": (GRAPH_ONLY, {"graph_features": 4, "directed": True}),
    "graph only: ids travel on it": (GRAPH_ONLY, {"graph_features": 0}),
    "ids travel on all graphs": ({"ready_graph": ("image",)}, {"feature_graph_input": "id"}),
    "two layers on the item graphs": ({}, {"item_layers": 2}),
    "three layers, directed, ids": (
        {"ready_graph": ("image",)},
        {"item_layers": 3, "directed": True, "feature_graph_input": "id"},
    ),
    "two layers, directed": ({"ready_graph": ("image",)}, {"item_layers": 2, "directed": True}),
    "everything is alike": ({}, {"same_above": -0.5}),
    "nothing is alike": ({}, {"same_above": 2.0}),
    "pairs repeat": ({"repeats": True}, {}),
    "no modality graphs": ({"ready_graph": ("image",)}, {"modality_graphs": False, "item_layers": 2}),
    "no modality graphs, eigenvectors": (GRAPH_ONLY, {"graph_features": 4, "modality_graphs": False}),
    "neither modality graphs nor item graph": ({}, {"modality_graphs": False, "steps": ("early", "late")}),
    "the mean, all steps": ({"modalities": ("text", "image", "audio")}, {"attention": False}),
    "the mean, early and late": ({}, {"attention": False, "steps": ("early", "late")}),
    "pairs": ({}, {"scope": "pair"}),
    "pairs, nearly all missing": ({"missing": 0.8}, {"scope": "pair"}),
    "pairs, three modalities, some ids": (
        {"modalities": ("text", "image"), "ready_graph": ("audio",), "repeats": True},
        {"scope": "pair", "graph_features": 0, "num_layers": 1},
    ),
    "pairs, one modality": ({"modalities": ("text",)}, {"scope": "pair"}),
    "pairs, early and late": ({}, {"scope": "pair", "steps": ("early", "late")}),
    "pairs, no layers": ({}, {"scope": "pair", "num_layers": 0}),
    "pairs, no modality graphs": ({}, {"scope": "pair", "modality_graphs": False}),
    "one query for all": ({"modalities": ("text", "image", "audio")}, {"scope": "global"}),
    "one query for all, early and late": ({}, {"scope": "global", "steps": ("early", "late")}),
}


class Literal:
    """TMFUN, as the text has it."""

    def __init__(self, model: Tmfun, corpus: Corpus) -> None:
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
        self.x = [self._x(name, model) if self._has_x(name) else None for name in self.names]
        self.graphs = [self._graph(place, known[name].graph) for place, name in enumerate(self.names)]

    def _has_x(self, name: str) -> bool:
        features = next(modality.features for modality in self.corpus.modalities if modality.name == name)
        stands_in = self.config.graph_features > 0
        return self.config.feature_graph_input == "feature" and (features is not None or stands_in)

    def _x(self, name: str, model: Tmfun) -> Tensor:
        features = next(modality.features for modality in self.corpus.modalities if modality.name == name)
        if features is None:  # any eigenvectors will do here; what they are is tested below
            part = model.modalities[f"{name}_graph"]
            assert isinstance(part, ModalityGraph)
            assert part.features is not None
            return part.features
        return features.double()

    def projected(self, m: int) -> Tensor:
        """(1)."""
        x, name = self.x[m], f"modalities.{self.names[m]}_graph.projection"
        assert x is not None
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _graph(self, m: int, ready: KnnGraph | None) -> Tensor:
        """(2)."""
        raw = next(each.features for each in self.corpus.modalities if each.name == self.names[m])
        if ready is None:
            assert raw is not None
            frozen = self._normalised(m, self._nearest(m, raw.double()))
        else:
            frozen = self._normalised(m, self._ready(m, ready))
        if self.x[m] is None:
            return frozen
        learnt = self._normalised(m, self._nearest(m, self.projected(m).detach()))
        return self.config.frozen_share * frozen + (1 - self.config.frozen_share) * learnt

    def _nearest(self, m: int, features: Tensor) -> Tensor:
        s = torch.zeros(self.items, self.items, dtype=torch.float64)
        here = [i for i in range(self.items) if self.present[m][i]]
        for i in here:
            cosine = {
                j: float(features[i] @ features[j] / (features[i].norm() * features[j].norm()))
                for j in here
                if j != i
            }
            for j in sorted(cosine, key=lambda j: -cosine[j])[: self.config.num_neighbours]:
                s[i, j] = cosine[j]
        return s

    def _ready(self, m: int, graph: KnnGraph) -> Tensor:
        s = torch.zeros(self.items, self.items, dtype=torch.float64)
        for i in range(self.items):
            for j, weight in zip(graph.neighbours[i].tolist(), graph.weights[i].tolist(), strict=True):
                if j not in (-1, i) and self.present[m][i] and self.present[m][j]:
                    s[i, j] = weight
        return s

    def _normalised(self, m: int, s: Tensor) -> Tensor:
        if not self.config.directed:
            s = torch.maximum(s, s.T)
        for i in range(self.items):
            s[i, i] = 1.0 if self.present[m][i] else 0.0
        degree = s.sum(1).tolist()
        a = torch.zeros_like(s)
        for i in range(self.items):
            for j in range(self.items):
                if degree[i] > 0 and degree[j] > 0:
                    a[i, j] = s[i, j] / math.sqrt(degree[i] * degree[j])
        return a

    def having(self, i: int) -> list[int]:
        return [m for m in range(len(self.names)) if self.present[m][i]]

    @cached_property
    def item_graph(self) -> Tensor:
        """(3)."""
        return self.mixture(self.graphs)

    def mixture(self, graphs: Sequence[Tensor]) -> Tensor:
        """The modality graphs as (3) mixes them."""
        share = torch.softmax(self.weights["graph_logits_M"], 0)
        rows = []
        for i in range(self.items):
            row = torch.zeros(self.items, dtype=torch.float64)
            for m in self.having(i):
                row = row + share[m] / share[self.having(i)].sum() * graphs[m][i]
            rows.append(row)
        return torch.stack(rows)

    @cached_property
    def warm_ids(self) -> Tensor:
        return self.weights["collaborative.item"] * torch.tensor(self.warm, dtype=torch.float64)[:, None]

    @cached_property
    def h(self) -> list[Tensor]:
        """(4), content."""
        if not self.config.modality_graphs:
            return [
                torch.stack(
                    [row if here else row * 0.0 for row, here in zip(f, self.present[m], strict=True)]
                )
                for m, f in enumerate(map(self.projected, range(len(self.names))))
            ]
        return [
            torch.linalg.matrix_power(self.graphs[m], self.config.item_layers)
            @ (self.warm_ids if self.x[m] is None else self.projected(m))
            for m in range(len(self.names))
        ]

    @cached_property
    def h_id(self) -> Tensor:
        """(4), IDs."""
        answer = self.warm_ids
        for _ in range(self.config.item_layers):
            answer = self.item_graph @ answer
        return answer

    @cached_property
    def layers(self) -> list[Tensor]:
        graph = torch.zeros(self.users + self.items, self.users + self.items, dtype=torch.float64)
        for u, i in self.edges:
            degrees = len([e for e in self.edges if e[0] == u]) * len([e for e in self.edges if e[1] == i])
            graph[u, self.users + i] = graph[self.users + i, u] = degrees**-0.5
        found = [torch.cat([self.weights["collaborative.user"], self.weights["collaborative.item"]])]
        for _ in range(self.config.num_layers):
            found.append(graph @ found[-1])
        return found

    @cached_property
    def z(self) -> Tensor:
        """(5)."""
        return torch.stack(self.layers).mean(0)

    def _attend(self, query: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
        logits = torch.stack([query @ key for key in keys]) / math.sqrt(self.config.dim)
        return torch.softmax(logits, 0) @ torch.stack(values)

    def query(self, z: Tensor, user: Tensor) -> Tensor:
        """What the early step asks."""
        if self.config.scope == "global":
            return self.weights["global_query"][0]
        if self.config.scope == "pair":
            return user @ self.weights["early_user_query"] + z @ self.weights["early_query"]
        return z @ self.weights["early_query"]

    def item(self, i: int, z: Tensor, user: Tensor) -> Tensor:
        """(6) to (8): the vector of item i, given its collaborative signal and the user's."""
        w, having = self.weights, self.having(i)
        if self.config.steps == ("late",):
            g = torch.stack([self.h[m][i] for m in having]).mean(0) if having else torch.zeros_like(z)
        else:
            keys = [self.h[m][i] @ w["early_key"] for m in having]
            values = [self.h[m][i] @ w["early_value"] for m in having]
            if not having:
                g = torch.zeros_like(z)
            elif not self.config.attention:
                g = torch.stack(values).mean(0)
            else:
                g = self._attend(self.query(z, user), keys, values)
        if "multi" in self.config.steps:
            choices = ([g] if having else []) + ([self.h_id[i]] if bool(self.h_id[i].any()) else [])
            keys = [choice @ w["multi_key"] for choice in choices]
            g = self._attend(z @ w["multi_query"], keys, choices) if choices else torch.zeros_like(z)
        if "late" not in self.config.steps:
            return g
        return z + g / g.norm().clamp_min(1e-8) if bool(g.any()) else z

    def contrastive(self, positives: list[int]) -> Tensor:
        """(9), the mean over the pairs of modalities."""
        terms = []
        for m, n in combinations(range(len(self.names)), 2):
            both = sorted({i for i in positives if self.present[m][i] and self.present[n][i]})
            losses = []
            for one, other in ((m, n), (n, m)):
                for i in both:
                    alike = {}
                    for j in both:
                        a, b = self.h[one][i], self.h[other][j]
                        alike[j] = a @ b / (a.norm() * b.norm())
                    kept = [alike[j] for j in both if j == i or alike[j] <= self.config.same_above]
                    scaled = torch.stack([alike[i], *kept]) / self.config.temperature
                    losses.append(torch.logsumexp(scaled[1:], 0) - scaled[0])
            nothing = torch.zeros((), dtype=torch.float64)
            terms.append(torch.stack(losses).mean() if losses else nothing)
        return torch.stack(terms).mean() if terms else torch.zeros((), dtype=torch.float64)

    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        """(10)."""
        positives, negatives = batch.positives.tolist(), batch.negatives.tolist()
        ranking, penalty = [], []
        for u, i, j in zip(batch.users.tolist(), positives, negatives, strict=True):
            better, worse = (self.z[u] @ self.item(k, self.z[self.users + k], self.z[u]) for k in (i, j))
            ranking.append(-torch.log(torch.sigmoid(better - worse)))
            rows = self.weights["collaborative.user"][u], *self.weights["collaborative.item"][[i, j]]
            penalty.append(sum((row @ row for row in rows), torch.zeros((), dtype=torch.float64)))
        return {
            "bpr": torch.stack(ranking).mean(),
            "contrastive": self.contrastive(positives),
            "l2": torch.stack(penalty).sum() / len(batch.users),
        }

    def cold_z(self, i: int) -> Tensor:
        """Cold items: the weighted mean of the warm neighbours in A^I, made of weights above 0."""
        graph = self.mixture([each.clamp_min(0.0) for each in self.graphs])
        total, weight = torch.zeros(self.config.dim, dtype=torch.float64), 0.0
        for j in range(self.items):
            if self.warm[j]:
                total = total + graph[i, j] * self.z[self.users + j]
                weight += graph[i, j].item()
        return total / weight if weight > 0 else torch.zeros_like(total)

    def new_user(self, history: list[int]) -> Tensor:
        """New users: fold-in."""
        known = sorted({i for i in history if self.warm[i]})
        total = torch.zeros(self.config.dim, dtype=torch.float64)
        for layer in self.layers[: self.config.num_layers]:
            for i in known:
                degree = len([e for e in self.edges if e[1] == i])
                total = total + layer[self.users + i] / math.sqrt(len(known) * degree)
        return total / (self.config.num_layers + 1)


def scattered(corpus: Corpus) -> Corpus:
    """The same, with ready graphs that are hardly reciprocal and name absent items, themselves and nobody."""
    rng = torch.Generator().manual_seed(3)
    modalities = []
    for modality in corpus.modalities:
        if modality.graph is not None:
            drawn = torch.stack(
                [torch.randperm(corpus.num_items, generator=rng)[:3] for _ in modality.present]
            )
            drawn[4, 1:] = -1
            drawn[5, 2] = 5
            weights = torch.rand(drawn.shape, generator=rng).masked_fill(drawn < 0, 0.0)
            modality = replace(modality, graph=KnnGraph(neighbours=drawn, weights=weights))
        modalities.append(modality)
    return replace(corpus, modalities=tuple(modalities))


def both(case: str, **more: Any) -> tuple[Tmfun, Literal, Corpus]:
    """The model in float64 with every parameter drawn anew, and the literal one with the same parameters."""
    options, settings = CASES[case]
    corpus = scattered(small_corpus(**{"missing": 0.3, **options}))
    config = {"dim": 4, "num_neighbours": 3, "same_above": 0.5, "temperature": 0.4, **settings, **more}
    model = randomised(Tmfun(TmfunConfig(**config), corpus, generator=torch.Generator().manual_seed(0)))
    model.begin_epoch()
    return model, Literal(model, corpus), corpus


def batch(corpus: Corpus) -> PairBatch:
    """The pairs of all warm items but three, which are negatives only; others are positives and negatives."""
    warm = torch.nonzero(corpus.popularity()).squeeze(1)
    kept = ~torch.isin(corpus.train.items, warm[-3:])
    users, positives = corpus.train.users[kept], corpus.train.items[kept]
    negatives = warm[torch.randint(len(warm), (len(users),), generator=torch.Generator().manual_seed(2))]
    return PairBatch(users=users, positives=positives, negatives=negatives)


@pytest.mark.parametrize("case", CASES)
def test_losses_and_all_gradients_are_the_literal_ones(case: str) -> None:
    """Eq. (1) to (10) together."""
    model, literal, corpus = both(case)
    pairs, parameters = batch(corpus), dict(model.named_parameters())
    assert_same_losses(model.losses(pairs), literal.losses(pairs), parameters, literal.weights)


@pytest.mark.parametrize("case", CASES)
def test_the_scorer_is_the_literal_one_for_cold_items_and_new_users_too(case: str) -> None:
    """Eq. (5) to (8), "Cold items" and "New users"."""
    model, literal, _ = both(case)
    scorer = model.scorer()
    assert literal.warm.count(False) == 3
    cold = literal.warm.index(False)
    histories = [[0, 5, 9], [cold, 7, 7], [cold], [], list(range(literal.items))]
    known = list(range(literal.users))
    asking = Queries(
        users=torch.tensor([*known, *(-1 for _ in histories)]),
        histories=Histories.from_lists([*([] for _ in known), *histories]),
    )
    asks = torch.stack([*literal.z[: literal.users], *map(literal.new_user, histories)])
    items = [
        literal.z[literal.users + i] if warm else literal.cold_z(i) for i, warm in enumerate(literal.warm)
    ]
    if model.config.scope == "pair":
        rows = [torch.stack([z_u @ literal.item(i, z, z_u) for i, z in enumerate(items)]) for z_u in asks]
        assert_close(all_scores(scorer, asking), torch.stack(rows).detach())
        return
    assert isinstance(scorer, TwoTower)
    assert_close(scorer.user_vectors(asking), asks.detach())
    for i, z in enumerate(items):
        assert_close(scorer.item[i], literal.item(i, z, asks[0]).detach())


@pytest.mark.parametrize("case", CASES)
def test_each_graph_is_the_literal_one_and_holds_its_true_transpose(case: str) -> None:
    """Eq. (2) and (3)."""
    model, literal, _ = both(case)
    for name, expected in zip(literal.names, literal.graphs, strict=True):
        part = model.modalities[f"{name}_graph"]
        assert isinstance(part, ModalityGraph)
        graph = part.adjacency.matrix
        assert_close(graph.dense(), expected)
        assert_close(graph.backward.to_dense(), expected.T)
        assert graph.symmetric == (not model.config.directed)
    eye = torch.eye(literal.items, dtype=torch.float64)
    assert_close(model.item_graph(eye), literal.item_graph)
    rows = torch.tensor([3, 3, 0])
    assert_close(model.item_graph(eye, rows), literal.item_graph[rows])


@pytest.mark.parametrize("case", CASES)
def test_what_travels_on_the_graphs_is_the_literal_product(case: str) -> None:
    """Eq. (1) and (4): P^m W + row sums b is A^m (X^m W + b), for any rows; H^I sees warm columns only."""
    model, literal, _ = both(case)
    rows = torch.tensor([13, 2, 2, 7])
    found = model.modality_features(rows)
    for m, expected in enumerate(literal.h):
        assert_close(found[m], expected[rows])
    assert_close(model.id_features(), literal.h_id)
    assert_close(model.id_features(rows), literal.h_id[rows])


def test_the_cases_meet_what_they_are_for() -> None:
    """Awkward items and masked pairs do occur in them."""
    _, literal, corpus = both("as it stands")
    asked = batch(corpus)
    positives = set(asked.positives.tolist())
    assert len(set(asked.negatives.tolist()) - positives) == 3
    assert set(asked.negatives.tolist()) & positives
    lacking = [len(literal.having(i)) for i in range(literal.items)]
    assert {lacking[i] for i in positives} == {0, 1, 2}
    cold = [i for i in range(literal.items) if not literal.warm[i]]
    assert any(lacking[i] for i in cold)
    a, b = (torch.nn.functional.normalize(h[sorted(positives)], dim=1) for h in literal.h)
    masked = (a @ b.T).fill_diagonal_(0) > literal.config.same_above
    assert 0 < int(masked.sum()) < masked.numel() / 2
    directed, _, _ = both("ready graph, directed")
    part = directed.modalities["image_graph"]
    assert isinstance(part, ModalityGraph)
    dense = part.frozen.matrix.dense()
    one_way, stored = (dense > 0) & (dense.T == 0), (dense > 0).sum() - (dense.diagonal() > 0).sum()
    assert int(one_way.sum()) > int(stored) / 2 > 5
    _, all_gone, _ = both("nearly all missing")
    assert any(not all_gone.warm[i] and not all_gone.having(i) for i in range(all_gone.items))


@pytest.mark.parametrize("directed", [False, True])
def test_what_stands_in_for_features_are_leading_eigenvectors_of_the_ready_graph(*, directed: bool) -> None:
    """Eq. (2): largest eigenvalues first, of the graph taken both ways."""
    model, _, _ = both("graph only: eigenvectors", directed=directed)
    part = model.modalities["audio_graph"]
    assert isinstance(part, ModalityGraph)
    assert part.features is not None
    frozen = part.frozen.matrix.dense()
    symmetric = (frozen + frozen.T) / 2
    largest = torch.linalg.eigvalsh(symmetric).flip(0)[:4]
    moved = symmetric @ part.features
    torch.testing.assert_close(moved, part.features * largest, atol=1e-3, rtol=0)
