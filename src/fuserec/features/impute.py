"""Missing features filled in, as a new dataset.

fuserec's models know a missing modality by its mask, so nothing has to be filled in for them. Whether it is worth it is measured in
docs/explanation/missing-modalities.md.

Shape legend
    I  items   W  width of the features
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fuserec.data.build import make_dataset, refuse_place
from fuserec.data.dataset import Dataset
from fuserec.data.features import Features
from fuserec.data.other_content import graph_of, plan_of
from fuserec.data.padded import with_encoder
from fuserec.data.plan import Plan
from fuserec.data.report import count
from fuserec.data.schema import Finding, GraphEntry, ModalityEntry
from fuserec.errors import ConfigError, DataError, nearest

__all__ = ["HOW", "How", "impute"]

How = Literal["propagate", "mean", "zeros"]
HOW: tuple[How, ...] = get_args(How)
"""``propagate`` takes a missing row from the items that share training users with the item, and theirs, and so on;
``mean`` is the mean of all that are there; ``zeros`` passes a row of zeros off as features, as a control."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filled:
    """Features with more rows than before.

    Attributes:
        features: with all rows there are now.
        missing: items that had none.
        gained: items that have some now.
    """

    features: Features
    missing: int
    gained: int


def impute(
    dataset: Dataset,
    out: Path,
    *,
    how: str = "propagate",
    modalities: Sequence[str] = (),
    split: str | None = None,
    neighbours: int = 20,
    steps: int = 20,
    overwrite: bool = False,
) -> Dataset:
    """Make a new dataset in which items without features have some.

    Rows that are there stay to the bit. A modality that gained rows loses its ready graph, which knows the items of
    before, and its encoder, which did not make all of its rows.

    Args:
        dataset: the old one; nothing in its folder changes.
        out: where the new one shall stand.
        how: one of `HOW`. Only ``propagate`` reads events, those that train in ``split``, and leaves items that
            no way leads to, such as cold ones, without features.
        modalities: which; empty takes all that have features.
        split: its training events make the graph; None takes the only one.
        neighbours: items that each item is joined to, those with which it shares the most users.
        steps: how often rows are passed on.
        overwrite: replace a dataset that stands at ``out``; never the old one.

    Raises:
        ConfigError: an option has a value that cannot be used, or there are several splits and none is named.
        DataError: nothing is missing or nothing can be filled, or ``out`` cannot be written.
    """
    out = Path(out)
    if how not in HOW:
        raise ConfigError(f"no way {how!r} to fill in features; {nearest(how, HOW)}")
    chosen = _chosen(dataset, modalities)
    refuse_place(out, [dataset.path], overwrite=overwrite)
    split = dataset.split_name(split) if how == "propagate" else None
    told = {
        "propagate": f"what items that share users with them have (training events of the split {split} alone, "
        f"{count(neighbours, 'neighbour')}, {count(steps, 'step')})",
        "mean": "the mean of those that have some",
        "zeros": "zeros, as a control",
    }[how]
    filled = {name: _filled(dataset, name, how, split, neighbours, steps) for name in chosen}
    if not any(one.gained for one in filled.values()):
        raise DataError(_nothing_filled(dataset, filled, split))
    return make_dataset(out, _plan(dataset, filled, told), overwrite=overwrite)


def _chosen(dataset: Dataset, names: Sequence[str]) -> list[str]:
    """The modalities to look at, each once.

    Raises:
        ConfigError: a name is that of no features.
        DataError: there are no features.
    """
    known = [name for name, entry in dataset.manifest.modalities.items() if entry.features is not None]
    if not known:
        raise DataError(f"expected a dataset with features, but {dataset.path} has none")
    for name in names:
        if name not in known:
            raise ConfigError(
                f"expected a modality of {dataset.path} with features, got {name!r}; {nearest(name, known)}"
            )
    return list(dict.fromkeys(names)) or known


def _filled(dataset: Dataset, name: str, how: str, split: str | None, neighbours: int, steps: int) -> _Filled:
    features = _as_they_are(dataset, name)
    matrix, present = features.matrix, features.present
    missing = len(present) - int(present.sum())
    if not missing or not present.any():
        return _Filled(features=features, missing=missing, gained=0)
    if how == "propagate":
        rows, there = _propagated(dataset, matrix, present, split, neighbours, steps)
    else:
        rows, there = np.array(matrix, dtype=np.float32), np.ones_like(present)
        rows[~present] = rows[present].mean(axis=0, dtype=np.float64) if how == "mean" else 0
    gained = int(there.sum()) - int(present.sum())
    if not gained:
        return _Filled(features=features, missing=missing, gained=0)
    more = Features(matrix=rows, rows=features.rows, present=there, dtype=features.dtype, findings=())
    return _Filled(features=more, missing=missing, gained=gained)


def _propagated(
    dataset: Dataset,
    matrix: NDArray[np.generic],
    present: NDArray[np.bool_],
    split: str | None,
    neighbours: int,
    steps: int,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    import torch

    from fuserec.batch import Pairs
    from fuserec.ops.feature_propagation import fill_from_neighbours, shared_users_graph

    train = dataset.interactions().filter(dataset.parts(split) == "train")
    users, items = (
        torch.from_numpy(np.array(train[column].to_numpy(), dtype=np.int64)) for column in ("user", "item")
    )
    graph = shared_users_graph(
        Pairs(users=users, items=items),
        num_users=dataset.num_users,
        num_items=dataset.num_items,
        neighbours=neighbours,
    )
    rows, there = fill_from_neighbours(
        graph, torch.from_numpy(np.array(matrix, dtype=np.float32)), torch.from_numpy(present), steps=steps
    )
    # what cancels out to nothing is no row
    return rows.numpy(), present | (there & rows.any(dim=1)).numpy()


def _as_they_are(dataset: Dataset, name: str) -> Features:
    entry = dataset.manifest.modalities[name].features
    assert entry is not None
    features = Features(
        matrix=dataset.feature_array(name),
        rows=np.arange(dataset.num_items),
        present=np.array(dataset.feature_array(name, "present")),
        dtype=entry.dtype,
        findings=(),
    )
    return with_encoder(dataset, name, features)


def _nothing_filled(dataset: Dataset, filled: dict[str, _Filled], split: str | None) -> str:
    names = ", ".join(filled)
    missing = sum(one.missing for one in filled.values())
    if not missing:
        return f"expected missing features to fill in, but every item of {dataset.path} has {names}"
    if split is None:
        return f"expected items with {names} to fill in others from, but no item of {dataset.path} has any"
    return (
        f"expected a way from an item without {names} to one with it, but none of {missing:,} has one in the training "
        f"events of the split {split}; use mean, or leave them missing"
    )


def _plan(dataset: Dataset, filled: dict[str, _Filled], told: str) -> Plan:
    """All that the new folder will hold."""
    gained = {name: one for name, one in filled.items() if one.gained}
    features, graphs, entries = {}, {}, {}
    for name, entry in dataset.manifest.modalities.items():
        if entry.features is not None:
            features[name] = gained[name].features if name in gained else _as_they_are(dataset, name)
        graph: GraphEntry | None = None
        if entry.graph is not None and name not in gained:
            graphs[name] = graph_of(dataset, name)
            graph = entry.graph
        entries[name] = ModalityEntry(
            features=features[name].entry if name in features else None, graph=graph
        )
    findings = [
        _finding(name, one, told, lost_graph=dataset.manifest.modalities[name].graph is not None)
        for name, one in gained.items()
    ]
    return plan_of(dataset, entries, features, graphs, findings)


def _finding(name: str, one: _Filled, told: str, *, lost_graph: bool) -> Finding:
    message = (
        f"{name} features of {one.gained:,} of {count(one.missing, 'item')} without any filled in with {told}"
    )
    if lost_graph:
        message += "; the ready graph is left out, since it was made without them"
    return Finding(kind="imputed", count=one.gained, message=message)
