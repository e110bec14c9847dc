"""Raw files read and checked: everything that a dataset folder will hold, before a byte is written."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fuserec.data.columns import event_columns, item_columns
from fuserec.data.events import Events, clean_events
from fuserec.data.features import Features, read_features
from fuserec.data.graphs import NeighbourGraph, read_graph
from fuserec.data.ids import as_ids, rows_of, same_type
from fuserec.data.items import Catalogue, read_catalogue
from fuserec.data.kcore import keep_core
from fuserec.data.numbered import numbered
from fuserec.data.schema import (
    DATASET_FORMAT,
    FORMAT_VERSION,
    OLDEST_READABLE,
    BuildOptions,
    Finding,
    Manifest,
    ModalityEntry,
    Report,
    SourceEntry,
    check_name,
)
from fuserec.data.sources.formats import read_table
from fuserec.data.sources.parts import find_parts, read_parts
from fuserec.data.split_plan import plan_splits
from fuserec.data.statistics import count_interactions
from fuserec.errors import DataError
from fuserec.files import sha256_file

__all__ = ["Plan", "Sources", "plan_build"]

_Codes = NDArray[np.int8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The raw files.

    Attributes:
        events: the log, as CSV, TSV, JSON Lines, an atomic file or Parquet; or a folder of such, or a pattern.
        items: the catalogue; without it the items are those of the events, in the order of their ids.
        features: a feature matrix for each of some modalities.
        graphs: a ready neighbour graph for each of some modalities.
    """

    events: Path
    items: Path | None = None
    features: Mapping[str, Path] = field(default_factory=dict)
    graphs: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that a dataset folder will hold, checked but not written.

    Attributes:
        manifest: complete but for the hashes of the files.
        interactions: ``user`` and ``item`` rows, ``time``, ``rating``, ``line`` and all other columns.
        users: ``row`` and ``user_id``.
        items: ``row``, ``item_id`` and all that is known of the items.
        splits: (E,) codes of the parts by name of the split.
        features: by modality.
        graphs: by modality.
        rejected: the rows left out, with their line and the reason.
    """

    manifest: Manifest
    interactions: pl.DataFrame
    users: pl.DataFrame
    items: pl.DataFrame
    splits: Mapping[str, _Codes]
    features: Mapping[str, Features]
    graphs: Mapping[str, NeighbourGraph]
    rejected: pl.DataFrame


def plan_build(sources: Sources, options: BuildOptions | None = None) -> Plan:
    """Read and check everything, and write nothing.

    Raises:
        DataError: a file or a value in it cannot be used.
        ConfigError: an option has a value that cannot be used.
    """
    options = options or BuildOptions()
    for name in (*sources.features, *sources.graphs):
        check_name(name, "modality")
    table = read_parts(Path(sources.events))
    columns = event_columns(sources.events, table.frame.columns, options)
    user_ids, item_ids = as_ids(table, columns.user), as_ids(table, columns.item)
    catalogue, item_roles = _catalogue(sources, options)
    if catalogue is not None:
        item_ids, known = same_type(item_ids, catalogue.ids)
        catalogue = Catalogue(ids=known, content=catalogue.content)
    known_items = None if catalogue is None else catalogue.ids
    events = clean_events(
        table, columns, users=user_ids, items=item_ids, known_items=known_items, options=options
    )
    if options.k_core is not None:
        user_k, item_k = options.k_core
        events = keep_core(events, table, user_k=user_k, item_k=item_k)
    users = numbered(events.kept["user"].unique().sort().alias("user_id").to_frame())
    items = _item_frame(events, catalogue)
    interactions = events.kept.with_columns(
        rows_of(events.kept["user"], users["user_id"]).alias("user"),
        rows_of(events.kept["item"], items["item_id"]).alias("item"),
    )
    sizes = {"num_users": users.height, "num_items": items.height}
    splits = plan_splits(table, columns, events, interactions, options, **sizes)
    features = {
        name: read_features(name, Path(path), items["item_id"], ordered=catalogue is not None)
        for name, path in sources.features.items()
    }
    graphs = {
        name: read_graph(name, Path(path), items["item_id"], ordered=catalogue is not None)
        for name, path in sources.graphs.items()
    }
    findings = [*events.findings, *splits.findings]
    findings += [finding for matrix in features.values() for finding in matrix.findings]
    findings += [finding for graph in graphs.values() for finding in graph.findings]
    _refuse_if_strict(findings, options)
    manifest = Manifest(
        format=DATASET_FORMAT,
        format_version=FORMAT_VERSION,
        oldest_readable=OLDEST_READABLE,
        writer=f"fuserec {importlib.metadata.version('fuserec')}",
        synthetic=options.synthetic,
        user_id_type="integer" if users["user_id"].dtype == pl.Int64 else "string",
        item_id_type="integer" if items["item_id"].dtype == pl.Int64 else "string",
        sources=_source_entries(sources),
        columns={"events": columns.roles(), "items": item_roles},
        options=options,
        counts=count_interactions(interactions, **sizes),
        splits=dict(splits.entries),
        modalities=_modality_entries(features, graphs),
        report=Report(
            events_read=table.frame.height,
            events_kept=interactions.height,
            events_rejected=events.rejected.height,
            findings=tuple(findings),
        ),
        files={},
    )
    return Plan(
        manifest=manifest,
        interactions=interactions,
        users=users,
        items=items,
        splits=splits.codes,
        features=features,
        graphs=graphs,
        rejected=events.rejected,
    )


def _catalogue(sources: Sources, options: BuildOptions) -> tuple[Catalogue | None, dict[str, str]]:
    if sources.items is None:
        return None, {}
    table = read_table(sources.items)
    columns = item_columns(sources.items, table.frame.columns, options)
    return read_catalogue(table, columns), columns.roles()


def _item_frame(events: Events, catalogue: Catalogue | None) -> pl.DataFrame:
    if catalogue is None:
        return numbered(events.kept["item"].unique().sort().alias("item_id").to_frame())
    return numbered(catalogue.ids.alias("item_id").to_frame().hstack(catalogue.content.get_columns()))


def _refuse_if_strict(findings: Iterable[Finding], options: BuildOptions) -> None:
    refused = [finding.line() for finding in findings if finding.refused_by_strict]
    if options.strict and refused:
        raise DataError("--strict refuses: " + "; ".join(refused))


def _source_entries(sources: Sources) -> dict[str, SourceEntry]:
    parts = find_parts(Path(sources.events))
    paths: dict[str, Any] = {"events": parts[0]}
    if parts != (Path(sources.events),):
        paths = {f"events/{number}": part for number, part in enumerate(parts, start=1)}
    if sources.items is not None:
        paths["items"] = sources.items
    paths |= {f"features/{name}": path for name, path in sources.features.items()}
    paths |= {f"graph/{name}": path for name, path in sources.graphs.items()}
    return {
        role: SourceEntry(name=Path(path).name, bytes=Path(path).stat().st_size, sha256=sha256_file(path))
        for role, path in paths.items()
    }


def _modality_entries(
    features: Mapping[str, Features], graphs: Mapping[str, NeighbourGraph]
) -> dict[str, ModalityEntry]:
    return {
        name: ModalityEntry(
            features=features[name].entry if name in features else None,
            graph=graphs[name].entry if name in graphs else None,
        )
        for name in sorted({*features, *graphs})
    }
