"""A fitted model that knows items which came after training; what it says of the others stays as it is.

A new item has content and no event. Its neighbours are sought among the items that training saw, as a model seeks those of
its own cold items, and never among the new ones: ten new books that are most like each other would else find nobody who
was ever read. On the corpus with the new items a closed form is fitted again, and a gradient model is built again with the
weights it had. Of the scorer that comes out, the new rows are taken and nothing else.

MUFASA needs no neighbours, since content alone gives an item's vector: it is built again as it was, on its own corpus, and
asked for the rows of the new items.

Shape legend
    I  items of the run   N  new items   K  neighbours   W  width of features
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fuserec.batch import Corpus, KnnGraph, Modality
from fuserec.errors import CheckpointError, ConfigError
from fuserec.models.item_to_item import ItemToItem
from fuserec.models.modalities import choose, neighbour_graph
from fuserec.models.mufasa import Mufasa
from fuserec.models.mufasa_config import MufasaConfig
from fuserec.models.mufasa_content import content_names
from fuserec.models.pair_fusion import PairFusion
from fuserec.models.protocol import Scorer
from fuserec.models.registry import by_content
from fuserec.models.sequence_scorer import SequenceScorer
from fuserec.models.two_tower import TwoTower
from fuserec.ops.sum_rows import SparseRows
from fuserec.ops.topk import topk
from fuserec.shapes import Bool, Float
from fuserec.training.config import Recipe
from fuserec.training.rebuild import rebuild, rebuild_model

__all__ = ["NewRows", "extended_scorer", "placed", "require_content", "used_modalities"]

COSINES_AT_A_TIME = 2**22
"""Held in float64: 32 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRows:
    """One modality of the new items.

    Attributes:
        features: (N, W) float32, zero rows where absent.
        present: (N,) True where the item has this modality.
    """

    features: Float[Tensor, "N W"]
    present: Bool[Tensor, " N"]

    @classmethod
    def absent(cls, count: int, width: int) -> NewRows:
        """For items that lack the modality."""
        return cls(features=torch.zeros(count, width), present=torch.zeros(count, dtype=torch.bool))

    def followed_by(self, more: NewRows) -> NewRows:
        """Both, one after the other."""
        return NewRows(
            features=torch.cat([self.features, more.features]),
            present=torch.cat([self.present, more.present]),
        )


def require_content(recipe: Recipe) -> None:
    """Refuse a model that cannot tell one item without events from another.

    Raises:
        ConfigError: it is one.
    """
    by_ids = isinstance(recipe.model, MufasaConfig) and recipe.model.items == "id"
    if by_ids or not by_content(recipe.model_name):
        raise ConfigError(
            f"expected a model that places new items by their content, got {recipe.model_name!r}"
            f"{' with items = ' + repr('id') if by_ids else ''}, which knows items by their "
            "events only; train one that uses content, for example tmfun_plus or content_knn"
        )


def used_modalities(recipe: Recipe, corpus: Corpus) -> list[Modality]:
    """The modalities that the recipe's model looks at."""
    if isinstance(recipe.model, MufasaConfig):
        return choose(corpus, content_names(corpus.modalities, recipe.model))
    names = getattr(recipe.model, "weights", ()) or getattr(recipe.model, "modalities", ())
    return choose(corpus, names)


def extended_scorer(
    recipe: Recipe,
    scorer: Scorer,
    weights: Mapping[str, Tensor],
    corpus: Corpus,
    new: Mapping[str, NewRows],
    *,
    count: int,
) -> Scorer:
    """The scorer with N more items behind those it has, whose numbers stay bit for bit.

    Args:
        recipe: of the run.
        scorer: what training left.
        weights: the parameters that belong to it; empty for a closed form.
        corpus: what it was trained on, I items.
        new: content of the new items by modality; what is not named they lack.
        count: N, at least 1.

    Raises:
        ConfigError: the model knows items by their events only.
        CheckpointError: the weights are not those of the recipe's model on this corpus.
    """
    require_content(recipe)
    if isinstance(scorer, SequenceScorer):
        return _with_rows_by_content(recipe, scorer, weights, corpus, new, count)
    whole = _extended_corpus(recipe, corpus, new, count)
    # A limit on the size of the catalogue was kept when the model was trained; a few more items shall not meet it.
    if getattr(recipe.model, "max_items", whole.num_items) < whole.num_items:
        recipe = replace(recipe, model=replace(recipe.model, max_items=whole.num_items))
    fitted = rebuild(recipe, whole, lambda wanted: _extended_weights(wanted, weights))
    return _with_new_rows(scorer, fitted)


def placed(scorer: Scorer, first: int) -> Bool[Tensor, " N"]:
    """(N,) True for the items from row ``first`` on of which the scorer says anything at all."""
    if isinstance(scorer, TwoTower | SequenceScorer):
        return scorer.item[first:].any(1)
    if isinstance(scorer, PairFusion):
        return scorer.item[first:].any(1) | scorer.answers[:, first:].any(2).any(0)
    found = torch.zeros(scorer.num_items, dtype=torch.bool)
    if isinstance(scorer, ItemToItem):
        if isinstance(scorer.weights, Tensor):
            found = scorer.weights.any(0)
        else:
            found[scorer.weights.columns[scorer.weights.values != 0]] = True
    return found[first:]


def _with_rows_by_content(
    recipe: Recipe,
    scorer: SequenceScorer,
    weights: Mapping[str, Tensor],
    corpus: Corpus,
    new: Mapping[str, NewRows],
    count: int,
) -> SequenceScorer:
    """The scorer with the rows that MUFASA gives new items; zeros where one has no title."""
    model = rebuild_model(recipe, corpus, lambda wanted: _same_weights(wanted, weights))
    assert isinstance(model, Mufasa)
    content = {one.name: _rows_like(one, new, count) for one in used_modalities(recipe, corpus)}
    titles = content[model.config.title]
    titled = titles.present & titles.features.any(1)
    found = model.content_rows(
        tuple(
            Modality(name=name, present=rows.present[titled], features=rows.features[titled])
            for name, rows in content.items()
        )
    )
    tensors = scorer.tensors()
    for name, rows in found.items():
        added = rows.new_zeros(count, rows.shape[1])
        added[titled] = rows
        tensors[name] = torch.cat([tensors[name], added])
    return SequenceScorer.from_tensors(tensors)


def _rows_like(modality: Modality, new: Mapping[str, NewRows], count: int) -> NewRows:
    """What the new items have of a modality that has features."""
    assert modality.features is not None
    return new.get(modality.name) or NewRows.absent(count, modality.features.shape[1])


def _extended_corpus(recipe: Recipe, corpus: Corpus, new: Mapping[str, NewRows], count: int) -> Corpus:
    """The same training pairs, and all items in the modalities that the model uses."""
    k = getattr(recipe.model, "num_neighbours", None) or recipe.model.neighbours
    used = used_modalities(recipe, corpus)
    modalities = tuple(_extended_modality(each, new.get(each.name), count, k) for each in used)
    return replace(corpus, num_items=corpus.num_items + count, modalities=modalities)


def _extended_modality(modality: Modality, new: NewRows | None, count: int, k: int) -> Modality:
    """Features of all items, and a graph in which the new ones have neighbours among the others alone."""
    graph = neighbour_graph(modality, k)
    width = graph.neighbours.shape[1]
    found = KnnGraph(
        neighbours=torch.full((count, width), -1, dtype=torch.int64), weights=torch.zeros(count, width)
    )
    features = modality.features
    if features is None or new is None:
        new = NewRows.absent(count, 0 if features is None else features.shape[1])
    if features is not None:
        found = _nearest(new, features, modality.present, width)
        features = torch.cat([features, new.features])
    return Modality(
        name=modality.name,
        present=torch.cat([modality.present, new.present]),
        features=features,
        graph=KnnGraph(
            neighbours=torch.cat([graph.neighbours, found.neighbours]),
            weights=torch.cat([graph.weights, found.weights]),
        ),
    )


def _nearest(new: NewRows, features: Float[Tensor, "I W"], present: Bool[Tensor, " I"], k: int) -> KnnGraph:
    """(N, K) the items of highest cosine, computed in float64; of equal ones the lower row first."""
    known = _unit(features)
    missing = ~(present & known.any(1))
    values, columns = [], []
    for part in _unit(new.features).split(max(1, COSINES_AT_A_TIME // len(known))):
        cosine = (part @ known.T).float()
        cosine[:, missing] = -torch.inf
        cosine[~part.any(1)] = -torch.inf
        best = topk([cosine], k)
        values.append(best[0])
        columns.append(best[1])
    neighbours, weights = torch.cat(columns), torch.cat(values)
    none = (neighbours < 0) | ~new.present[:, None]
    return KnnGraph(neighbours=neighbours.masked_fill(none, -1), weights=weights.masked_fill(none, 0.0))


def _unit(features: Float[Tensor, "I W"]) -> Float[Tensor, "I W"]:
    """Rows of length 1 in float64; zero where a row is."""
    wide = features.double()
    length = torch.linalg.vector_norm(wide, dim=1, keepdim=True)
    unit: Tensor = wide / length.clamp_min(torch.finfo(torch.float32).tiny)
    return unit


def _extended_weights(wanted: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights in the shapes of a model with more items, zero where nothing was trained."""
    fits = wanted.keys() == weights.keys() and all(
        len(whole.shape) == len(weights[name].shape)
        and all(old <= size for old, size in zip(weights[name].shape, whole.shape, strict=True))
        for name, whole in wanted.items()
    )
    if not fits:
        raise _of_another_model(wanted, weights)
    return {name: _with_corner(torch.zeros_like(whole), weights[name]) for name, whole in wanted.items()}


def _same_weights(wanted: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The weights, of a model with as many items as it was trained with."""
    if {name: one.shape for name, one in wanted.items()} != {
        name: one.shape for name, one in weights.items()
    }:
        raise _of_another_model(wanted, weights)
    return weights


def _of_another_model(wanted: Mapping[str, Any], weights: Mapping[str, Tensor]) -> CheckpointError:
    return CheckpointError(
        f"expected the weights {sorted(wanted)} of the model that the run's recipe describes, got {sorted(weights)} "
        "or other shapes; train the run again"
    )


def _with_new_rows(scorer: Scorer, fitted: Scorer) -> Scorer:
    """The old numbers, and those of the fitted scorer where an item is new."""
    if isinstance(scorer, ItemToItem) and isinstance(scorer.weights, SparseRows):
        assert isinstance(fitted, ItemToItem)
        assert isinstance(fitted.weights, SparseRows)
        return ItemToItem(_with_new_entries(scorer.weights, fitted.weights))
    old, whole = scorer.tensors(), fitted.tensors()
    return type(scorer).from_tensors({name: _with_corner(whole[name], old[name]) for name in whole})


def _with_corner(whole: Tensor, corner: Tensor) -> Tensor:
    """A tensor whose first rows, columns and so on are those of another: items stand in their order along every axis."""
    whole = whole.clone()
    whole[tuple(slice(0, size) for size in corner.shape)] = corner
    return whole


def _with_new_entries(old: SparseRows, whole: SparseRows) -> SparseRows:
    rows, columns = whole.rows, whole.columns
    is_new = (rows >= old.num_rows) | (columns >= old.num_columns)
    return SparseRows.from_entries(
        torch.cat([old.rows, rows[is_new]]),
        torch.cat([old.columns, columns[is_new]]),
        torch.cat([old.values, whole.values[is_new]]),
        shape=(whole.num_rows, whole.num_columns),
    )
