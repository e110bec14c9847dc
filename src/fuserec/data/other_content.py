"""A dataset as it stands, with other content of its items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from fuserec.data.dataset import Dataset
from fuserec.data.features import Features
from fuserec.data.graphs import NeighbourGraph
from fuserec.data.plan import Plan
from fuserec.data.schema import PARTS, Finding, ModalityEntry
from fuserec.files import read_arrays

__all__ = ["graph_of", "plan_of"]


def graph_of(dataset: Dataset, name: str) -> NeighbourGraph:
    """The ready graph of a modality that has one, as it is."""
    arrays = read_arrays(dataset.path / "graphs" / f"{name}.npz")
    neighbours = arrays["neighbours"].astype(np.int64)
    return NeighbourGraph(neighbours=neighbours, weights=arrays["weights"], findings=())


def plan_of(
    dataset: Dataset,
    modalities: Mapping[str, ModalityEntry],
    features: Mapping[str, Features],
    graphs: Mapping[str, NeighbourGraph],
    findings: Sequence[Finding],
) -> Plan:
    """The plan of a child of the dataset: the same events, users, items and splits.

    Args:
        dataset: the parent.
        modalities: what the manifest of the child says of its content.
        features: of the child, by modality.
        graphs: of the child, by modality.
        findings: what happened; they come before those of the parent.
    """
    report = dataset.manifest.report
    manifest = dataset.manifest.model_copy(
        update={
            "parent": dataset.manifest_hash,
            "ancestors": (),
            "modalities": dict(modalities),
            "report": report.model_copy(update={"findings": (*findings, *report.findings)}),
        }
    )
    return Plan(
        manifest=manifest,
        interactions=dataset.interactions(),
        users=dataset.users,
        items=dataset.items,
        splits={
            name: dataset.parts(name).cast(pl.Enum(PARTS)).to_physical().to_numpy().astype(np.int8)
            for name in dataset.splits
        },
        features=dict(features),
        graphs=dict(graphs),
        rejected=dataset.rejected(),
    )
