"""What to do about items without content: a mask, zeros, the mean, propagation from items that share users, or leaving them out.

Some items lose all their features, drawn by a seed; models are fitted to what is left, in each of these ways, and measured on
validation. Neighbours are computed from the features as the dataset holds them; a ready graph would know the lost ones. Left out
means out of the catalogue and of training; validation events on such items are missed, and count. The table goes to stderr.

    python benchmarks/missing_modalities.py DATASET [--split NAME] [--recipes baby] [--model NAME ...] [--rounds 1]
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from measure import parser_of, report
from torch import Tensor

from fuserec.batch import Corpus, Modality, Pairs, Prepared, Queries
from fuserec.data.dataset import Dataset
from fuserec.models.modalities import neighbour_graph
from fuserec.models.protocol import Scorer
from fuserec.models.registry import CLOSED_FORMS
from fuserec.ops.feature_propagation import fill_from_neighbours, shared_users_graph
from fuserec.training.config import load_recipe
from fuserec.training.evaluate import evaluate
from fuserec.training.recipes import find_recipe

MODELS = ("item_knn_content", "content_knn", "ease_content")
SHARES = (0.3, 0.6)
KNN, NEIGHBOURS, STEPS = 10, 20, 20
METRICS = {"Recall@20": "Recall", "NDCG@20": "NDCG"}


def masked(modality: Modality, lost: Tensor) -> Modality:
    """The modality without the features of some items."""
    present = modality.present & ~lost
    assert modality.features is not None
    return replace(modality, present=present, features=torch.where(present[:, None], modality.features, 0.0))


def zeros(modality: Modality, lost: Tensor, _: Corpus) -> Modality:
    """Zeros pass for features."""
    return replace(masked(modality, lost), present=modality.present)


def mean(modality: Modality, lost: Tensor, _: Corpus) -> Modality:
    """The mean of the features that are left."""
    left = masked(modality, lost)
    assert left.features is not None
    filled = torch.where(
        (modality.present & lost)[:, None], left.features[left.present].mean(0), left.features
    )
    return replace(left, present=modality.present, features=filled)


def propagated(modality: Modality, lost: Tensor, corpus: Corpus, *, steps: int) -> Modality:
    """Features from the items that share training users."""
    left = masked(modality, lost)
    assert left.features is not None
    graph = shared_users_graph(
        corpus.train, num_users=corpus.num_users, num_items=corpus.num_items, neighbours=NEIGHBOURS
    )
    filled, there = fill_from_neighbours(graph, left.features, left.present, steps=steps)
    return replace(left, present=there, features=filled)


FILLED: dict[str, Callable[[Modality, Tensor, Corpus], Modality]] = {
    "mask": lambda modality, lost, _: masked(modality, lost),
    "zeros": zeros,
    "mean": mean,
    "propagate, 1 step": functools.partial(propagated, steps=1),
    f"propagate, {STEPS} steps": functools.partial(propagated, steps=STEPS),
}


@dataclass(frozen=True, slots=True)
class WithoutItems:
    """A scorer by which some items are no candidates."""

    kind: ClassVar[str] = "without_items"

    scorer: Scorer
    lost: Tensor

    @property
    def num_items(self) -> int:
        """I."""
        return self.scorer.num_items

    def scores(self, queries: Queries, items: slice) -> Tensor:
        """(B, J) those of the scorer, -inf for items left out."""
        return self.scorer.scores(queries, items).masked_fill(self.lost[items], -torch.inf)

    def tensors(self) -> dict[str, Tensor]:
        """Nothing: it is never kept."""
        return {}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> WithoutItems:
        """It is never kept, so it cannot come back."""
        raise NotImplementedError


def dropped(corpus: Corpus, lost: Tensor) -> Corpus:
    """The corpus without the items, whose rows stay, empty."""
    kept = ~lost[corpus.train.items]
    train = Pairs(users=corpus.train.users[kept], items=corpus.train.items[kept])
    return replace(
        corpus, train=train, modalities=tuple(masked(modality, lost) for modality in corpus.modalities)
    )


def with_neighbours(corpus: Corpus) -> Corpus:
    """The same with the neighbours of every item, so that they are found once for all models."""
    return replace(
        corpus,
        modalities=tuple(replace(one, graph=neighbour_graph(one, KNN)) for one in corpus.modalities),
    )


def cases(corpus: Corpus, draw: int) -> Iterator[tuple[str, str, Corpus, Tensor]]:
    """Share that is lost, what is done about it, the corpus, and the items that are no candidates."""
    nobody = torch.zeros(corpus.num_items, dtype=torch.bool)
    order = torch.randperm(corpus.num_items, generator=torch.Generator().manual_seed(draw))
    for share in (0.0, *SHARES, 1.0):
        lost = nobody.clone()
        lost[order[: round(share * corpus.num_items)]] = True
        for name, fill in FILLED.items():
            if name == "mask" or 0 < share < 1:
                modalities = tuple(fill(modality, lost, corpus) for modality in corpus.modalities)
                yield f"{share:.0%}", name, replace(corpus, modalities=modalities), nobody
        if 0 < share < 1:
            yield f"{share:.0%}", "dropped", dropped(corpus, lost), lost


def measured(scorer: Scorer, prepared: Prepared) -> dict[str, float]:
    """Means over the users of validation."""
    found = evaluate(scorer, prepared, part="valid", cutoffs=[20], metrics=list(METRICS.values())).means()
    return {name: found[name] for name in METRICS}


def measure(rounds: int, *, chosen: argparse.Namespace) -> dict[str, Any]:
    """Every case under every model, the mean over the draws."""
    prepared = Dataset.open(chosen.dataset, verify=False).prepare(chosen.split)
    corpus = prepared.corpus
    bare = replace(corpus, modalities=tuple(replace(one, graph=None) for one in corpus.modalities))
    configs = {
        name: load_recipe(find_recipe(f"{chosen.recipes}/{name}")).model
        if chosen.recipes
        else CLOSED_FORMS[name].config()
        for name in chosen.model or MODELS
    }
    found: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for draw in range(rounds):
        for share, done, changed, lost in cases(bare, draw):
            ready = with_neighbours(changed)
            for name, config in configs.items():
                scorer = CLOSED_FORMS[name].build(config).fit(ready)
                values = measured(WithoutItems(scorer, lost), replace(prepared, corpus=ready))
                found.setdefault((share, done, name), []).append(values)
                print(draw, share, done, name, values, file=sys.stderr, flush=True)
    means = [
        {"lost": share, "done": done, "model": name}
        | {metric: statistics.fmean(one[metric] for one in values) for metric in METRICS}
        for (share, done, name), values in found.items()
    ]
    print(table(means, list(configs)), file=sys.stderr)
    return {
        "split": prepared.split,
        "split_hash": prepared.split_hash,
        "dataset_hash": prepared.dataset_hash,
        "part": "valid",
        "neighbours": NEIGHBOURS,
        "recipes": chosen.recipes,
        "means": means,
    }


def table(means: list[dict[str, Any]], models: list[str]) -> str:
    """Recall@20 and NDCG@20 in Markdown, a row a case."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for one in means:
        cell = " / ".join(f"{one[metric]:.4f}" for metric in METRICS)
        rows.setdefault((one["lost"], one["done"]), {})[one["model"]] = cell
    lines = [["without content", "done", *models], ["---"] * (2 + len(models))]
    lines += [[lost, done, *(cells[model] for model in models)] for (lost, done), cells in rows.items()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    parser = parser_of(__doc__, rounds=1)
    parser.add_argument("dataset", type=Path, help="a dataset folder")
    parser.add_argument("--split", help="where the dataset has several")
    parser.add_argument("--recipes", help="a folder of recipes that come with fuserec, such as baby")
    parser.add_argument("--model", action="append", choices=MODELS, help="only this one; may be repeated")
    arguments = parser.parse_args()
    report(arguments.rounds, functools.partial(measure, chosen=arguments))
