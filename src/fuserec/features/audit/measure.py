"""What a dataset's content is worth before anything is trained on it, modality by modality."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch

from fuserec.batch import Corpus, KnnGraph, Modality
from fuserec.data.shuffled import deal, shuffle_graph
from fuserec.errors import DataError
from fuserec.features.audit.lift import Lift, Listing, lifts
from fuserec.features.audit.spread import Spread, measure_spread
from fuserec.features.audit.twins import Twins, find_twins
from fuserec.models.modalities import others_at_most, others_first
from fuserec.ops.nearest import float32_knn
from fuserec.shapes import Bool

__all__ = ["LEAST_FINE", "LEAST_LIFT", "NEIGHBOURS", "Audit", "Verdict", "audit"]

NEIGHBOURS = 10
"""Neighbours of an item that are looked at."""

LEAST_LIFT = 1.05
"""A lift below this is taken for chance, and so is one that is less than two standard errors above 1."""

LEAST_FINE = 1.2
"""A lift below this is weak."""

Verdict = Literal["fine", "weak", "no better than chance", "collapsed", "cannot tell"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What was found of one modality.

    Attributes:
        name: of the modality.
        kind: ``features``, or ``graph`` where there is a ready graph only.
        items: that have it.
        of_items: of the catalogue.
        events: training events on items that have it.
        of_events: training events.
        lift: of its neighbours.
        shuffled: the lift of the same neighbours, dealt anew among the items; near 1 or the figure cannot be trusted.
        spread: of the features; None of a graph.
        twins: among the features; None of a graph.
        graph: the neighbours that were looked at.
    """

    name: str
    kind: Literal["features", "graph"]
    items: int
    of_items: int
    events: int
    of_events: int
    lift: Lift
    shuffled: Lift
    spread: Spread | None
    twins: Twins | None
    graph: KnnGraph

    @property
    def verdict(self) -> Verdict:
        """In a word; the thresholds stand in this module and in `fuserec.features.audit.spread`."""
        if self.spread is not None and self.spread.collapsed:
            return "collapsed"
        value = self.lift.lift
        if value is None:
            return "cannot tell"
        if value < LEAST_LIFT or value - 2 * self.lift.error <= 1:
            return "no better than chance"
        return "weak" if value < LEAST_FINE else "fine"

    def as_json(self) -> dict[str, Any]:
        """Plain values, items by row."""
        return {
            "modality": self.name,
            "kind": self.kind,
            "verdict": self.verdict,
            "items": self.items,
            "of_items": self.of_items,
            "events": self.events,
            "of_events": self.of_events,
            "neighbours": _lift_json(self.lift),
            "shuffled": _lift_json(self.shuffled),
            "spread": None if self.spread is None else asdict(self.spread),
            "twins": None if self.twins is None else asdict(self.twins),
        }


def _lift_json(lift: Lift) -> dict[str, Any]:
    known = lift.lift is not None
    return {
        "pairs": lift.pairs,
        "shared": lift.shared,
        "chance": lift.chance,
        "lift": lift.lift,
        "error": lift.error if known else None,
    }


def audit(corpus: Corpus, *, seed: int = 0) -> tuple[Audit, ...]:
    """Look at every modality of a corpus; held-out events play no part, since a corpus has none.

    Args:
        corpus: a dataset under one split.
        seed: of the control, and of the order of items that are equally popular.

    Raises:
        ConfigError: the seed is below 0.
        DataError: there is no modality with features or a graph, or no training event.
    """
    modalities = [one for one in corpus.modalities if one.features is not None or one.graph is not None]
    if not modalities:
        raise DataError(
            "expected a dataset with features or graphs to look at, got none; "
            "make features with 'fuserec features', or build it with --features or --graph"
        )
    if not len(corpus.train):
        raise DataError("expected a split with training events, got none; choose another split")
    source = deal(corpus.num_items, seed)
    usable = [_usable(modality) for modality in modalities]
    graphs = [_neighbours_of(modality, present) for modality, present in zip(modalities, usable, strict=True)]
    listings = list(_listings(graphs, usable, source))
    found = lifts(corpus, listings, seed=seed)
    popularity = corpus.popularity()
    return tuple(
        Audit(
            name=modality.name,
            kind="graph" if modality.features is None else "features",
            items=int(present.sum()),
            of_items=corpus.num_items,
            events=int(popularity[present].sum()),
            of_events=len(corpus.train),
            lift=found[2 * place],
            shuffled=found[2 * place + 1],
            spread=None if modality.features is None else measure_spread(modality.features, present),
            twins=None if modality.features is None else find_twins(modality.features, present),
            graph=graph,
        )
        for place, (modality, present, graph) in enumerate(zip(modalities, usable, graphs, strict=True))
    )


def _usable(modality: Modality) -> Bool[torch.Tensor, " I"]:
    """The items that have the modality, less those whose row is zero: nothing can be told of them."""
    if modality.features is None:
        return modality.present
    return modality.present & modality.features.any(1)


def _neighbours_of(modality: Modality, present: Bool[torch.Tensor, " I"]) -> KnnGraph:
    """The nearest others of each item present, by its features or, without any, by its graph."""
    if modality.features is not None:
        return float32_knn(modality.features, present, others_at_most(NEIGHBOURS, len(present)))
    assert modality.graph is not None
    return others_first(modality.graph, present, NEIGHBOURS)


def _listings(
    graphs: Sequence[KnnGraph], usable: Sequence[torch.Tensor], source: np.ndarray
) -> Iterator[Listing]:
    """Each modality's neighbours, then the same dealt anew."""
    for graph, present in zip(graphs, usable, strict=True):
        yield Listing(neighbours=graph.neighbours, present=present)
        dealt = shuffle_graph(graph.neighbours.numpy(), graph.weights.numpy(), source)
        yield Listing(
            neighbours=torch.from_numpy(dealt.neighbours), present=present[torch.from_numpy(source)]
        )
