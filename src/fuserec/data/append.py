"""New events and items behind those of a dataset, as a new dataset; the old folder stays as it is.

Every user and item keeps its row, new ones come after them, and the splits are made again by their rules. The new
files are read as a build reads them; then ids, times and split columns of old and new events together go through
`fuserec.data.plan.plan_build` a second time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from fuserec.data.build import make_dataset, refuse_place
from fuserec.data.dataset import Dataset
from fuserec.data.ids import rows_of, typed_ids
from fuserec.data.more_items import read_more_items
from fuserec.data.numbered import numbered
from fuserec.data.odd_times import FAR_APART
from fuserec.data.padded import padded_modalities, with_encoder
from fuserec.data.plan import Plan, Sources, plan_build
from fuserec.data.report import count
from fuserec.data.schema import BuildOptions, Finding, Manifest, Report, SourceEntry
from fuserec.data.sources.parquet import PARQUET_SUFFIXES
from fuserec.data.sources.table import Table
from fuserec.data.split import by_column
from fuserec.data.stacked import stacked
from fuserec.data.times import read_times
from fuserec.errors import ConfigError, DataError

__all__ = ["append_events"]

_USER, _ITEM, _TIME = "a user", "an item", "a time"
"""Columns of the tables made on the way; no split can be called so."""

_OF_ALL_EVENTS = {"tie in time", "no times", "repeat", FAR_APART}
"""Findings that mean something for old and new events together only."""

_TOGETHER = "build a new dataset from all files together"


@dataclass(frozen=True, slots=True, kw_only=True)
class _NewItems:
    """Items after those of the dataset.

    Attributes:
        frame: ``item_id`` and content of all items, old ones first.
        entry: of the file; None without one.
        roles: the file's columns by role; empty without one.
        findings: what was noticed.
    """

    frame: pl.DataFrame
    entry: SourceEntry | None
    roles: Mapping[str, str]
    findings: list[Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Addition:
    """What is new.

    Attributes:
        events: new events in original ids, with ``a time`` (microseconds) and the split columns as text.
        plan: of the new file alone.
        rejected: its rows that were left out, those already there with them.
        findings: what was noticed.
    """

    events: pl.DataFrame
    plan: Plan
    rejected: pl.DataFrame
    findings: list[Finding]


def append_events(
    dataset: Dataset,
    out: Path,
    events: Path,
    *,
    items: Path | None = None,
    columns: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Dataset:
    """Make a new dataset of an old one and new events.

    Args:
        dataset: the old one; nothing in its folder changes.
        out: where the new one shall stand.
        events: the new log, read with the options of the old build.
        items: a catalogue of new items. Items that the dataset has stay as they are.
        columns: columns of the new files by role, where they are called otherwise than those of the old.
        overwrite: replace a dataset that stands at ``out``; never the old one.

    Raises:
        DataError: a file or a value in it cannot be used, nothing in it is new, or ``out`` cannot be written.
        ConfigError: the dataset was built in a way that cannot be carried on.
    """
    out, events = Path(out), Path(events)
    if dataset.manifest.options.k_core is not None:
        raise ConfigError(
            f"expected a dataset built without --k-core, since what {dataset.path} left out may belong to the core "
            "now; build a new one from all files together"
        )
    refuse_place(out, [dataset.path, events, *([items] if items else [])], overwrite=overwrite)
    options = _options_for(dataset, columns or {})
    known = _items(dataset, None if items is None else Path(items), options)
    old = _old_events(dataset)
    added = _new_events(
        dataset, old, known, events, options, catalogue=bool(items) or _has_catalogue(dataset)
    )
    if not _has_catalogue(dataset) and items is None:
        unknown = added.events.filter(~pl.col(_ITEM).is_in(known.frame["item_id"].implode()))[_ITEM]
        more = unknown.unique().sort().alias("item_id").to_frame()
        known = replace(known, frame=pl.concat([known.frame, more], how="diagonal"))
    combined = stacked(old, added.events, events)
    plan = _plan_together(dataset, combined, known.frame["item_id"])
    return make_dataset(out, _finished(dataset, plan, combined, known, added), overwrite=overwrite)


def _options_for(dataset: Dataset, columns: Mapping[str, str]) -> BuildOptions:
    """How the new files are read; their split columns stay plain columns for now."""
    asked = dataset.manifest.options
    named = {**asked.columns, **columns}
    if "time" not in dataset.manifest.columns["events"]:
        named["time"] = ""
    return replace(asked, columns=named, splits=("leave-one-out",), split_columns=())


def _has_catalogue(dataset: Dataset) -> bool:
    return bool(dataset.manifest.columns["items"])


def _column_splits(dataset: Dataset) -> list[str]:
    return [name for name, entry in dataset.manifest.splits.items() if entry.kind == "column"]


def _items(dataset: Dataset, path: Path | None, options: BuildOptions) -> _NewItems:
    old = dataset.items.drop("row")
    if path is None:
        return _NewItems(frame=old, entry=None, roles={}, findings=[])
    more = read_more_items(path, dataset.item_ids, options, remedy=_TOGETHER)
    frame = stacked(old, more.new, path)
    if "available" in {**dataset.manifest.columns["items"], **more.roles}:
        # One of the two catalogues may say nothing of it, which means the same as where none does.
        frame = frame.with_columns(pl.col("available").fill_null(value=True))
    findings = more.passed_over("what the dataset holds of them")
    return _NewItems(frame=frame, entry=more.source, roles=more.roles, findings=findings)


def _old_events(dataset: Dataset) -> pl.DataFrame:
    """The events of the dataset in original ids, with their instants and the parts of its column splits."""
    frame = dataset.interactions()
    ids = [
        dataset.user_ids.gather(frame["user"]).alias(_USER),
        dataset.item_ids.gather(frame["item"]).alias(_ITEM),
    ]
    parts = [dataset.parts(name).alias(name) for name in _column_splits(dataset)]
    instants = _instants(
        frame, dataset.manifest.columns["events"].get("time"), dataset.manifest.options.time_unit
    )
    return pl.DataFrame([*ids, *instants, *parts]).hstack(
        frame.drop("user", "item", *_column_splits(dataset), strict=False)
    )


def _instants(frame: pl.DataFrame, column: str | None, unit: str) -> list[pl.Series]:
    """Microseconds of each event, from the column as it came where the dataset kept it; empty without times."""
    if "time" not in frame.columns:
        return []
    seconds = (frame["time"] * 1_000_000).alias(_TIME)
    name = "time_original" if column == "time" else column
    if name is None or name not in frame.columns:
        return [seconds]
    finer = read_times(frame[name], unit).instants
    # Files of two appends may have had different units; a finer time counts only where it is that of the event.
    same = (finer // 1_000_000 == frame["time"]).fill_null(value=False)
    return [finer.zip_with(same, seconds).alias(_TIME)]


def _new_events(
    dataset: Dataset,
    old: pl.DataFrame,
    known: _NewItems,
    path: Path,
    options: BuildOptions,
    *,
    catalogue: bool,
) -> _Addition:
    """The events of the new file that can be used and are not there already."""
    with tempfile.TemporaryDirectory() as scratch:
        ids = Path(scratch) / "items.parquet"
        known.frame.select("item_id").write_parquet(ids)
        plan = plan_build(Sources(events=path, items=ids if catalogue else None), options)
    frame = plan.interactions
    if _TIME in old.columns and "time" not in frame.columns:
        raise DataError(
            f"expected times in {path}, as {dataset.path} has them; say which column holds them with --columns time=..."
        )
    users = typed_ids(dataset.user_ids, plan.users["user_id"], "users", path, remedy=_TOGETHER).gather(
        frame["user"]
    )
    items = typed_ids(dataset.item_ids, plan.items["item_id"], "items", path, remedy=_TOGETHER).gather(
        frame["item"]
    )
    roles = plan.manifest.columns["events"]
    instants = _instants(frame, roles.get("time"), options.time_unit)
    parts = [_parts(dataset, frame, name, path) for name in _column_splits(dataset)]
    new = pl.DataFrame([users.alias(_USER), items.alias(_ITEM), *instants, *parts]).hstack(
        frame.drop("user", "item", *_column_splits(dataset), strict=False)
    )
    there = _already(new, old, [_USER, _ITEM] if options.repeats == "drop" else [_USER, _ITEM, _TIME])
    added = _without(new, there, plan, path, drop=options.repeats == "drop")
    return replace(added, findings=[*added.findings, *_unrated(old, added.events)])


def _unrated(old: pl.DataFrame, new: pl.DataFrame) -> list[Finding]:
    """Where only one of the two has a column of ratings: the events of the other."""
    for frame, other, which in ((new, old, "new"), (old, new, "old")):
        if "rating" in other.columns and "rating" not in frame.columns:
            message = f"{count(frame.height, f'{which} event')} without a rating, beside others that have one"
            return [Finding(kind="missing rating", count=frame.height, message=message)]
    return []


def _already(new: pl.DataFrame, old: pl.DataFrame, keys: list[str]) -> pl.Series:
    """True for the new events that agree with an old one in all keys; without a time none does."""
    if _TIME in keys and _TIME not in old.columns:
        return pl.repeat(value=False, n=new.height, eager=True, dtype=pl.Boolean)
    known = old.select(keys).unique().with_columns(there=True)
    joined = new.select(keys).join(known, on=keys, how="left", maintain_order="left")
    return joined["there"].fill_null(value=False)


def _parts(dataset: Dataset, frame: pl.DataFrame, name: str, path: Path) -> pl.Series:
    """A split column of the new file as names of parts."""
    if name not in frame.columns:
        raise DataError(
            f"expected the column {name!r} in {path}, since {dataset.path} has a split by it; add it with train, valid "
            "or test in every row"
        )
    lines = frame["line"].to_numpy()
    files, of_file = [], np.zeros_like(lines)
    if "file" in frame.columns:
        files = frame["file"].unique().sort().cast(pl.String).to_list()
        of_file = frame["file"].to_physical().rank("dense").to_numpy() - 1
    # A table stands in the order of its files; the events are in that of time.
    order = np.lexsort((lines, of_file))
    table = Table(
        path=path,
        frame=frame,
        numbers=lines[order],
        is_text=True,
        has_lines=Path((files or [path.name])[0]).suffix.lower() not in PARQUET_SUFFIXES,
        files=files,
        starts=np.searchsorted(of_file[order], np.arange(len(files))).tolist(),
    )
    codes = by_column(frame[name], table, np.argsort(order))
    return pl.Series(name, np.array(["train", "valid", "test"])[codes])


def _without(new: pl.DataFrame, there: pl.Series, plan: Plan, path: Path, *, drop: bool) -> _Addition:
    """Leave out the events that the dataset has, and tell them."""
    findings = [one for one in plan.manifest.report.findings if one.kind not in _OF_ALL_EVENTS]
    rejected = plan.rejected
    if there.any():
        known = new.filter(there).sort("line")
        reason = "the user has had the item already" if drop else "already there, with the same time"
        file = known["file"].cast(pl.String) if "file" in known.columns else [path.name] * known.height
        where = tuple(f"{name}:{line}" for name, line in zip(file[:5], known["line"][:5], strict=True))
        message = f"{count(known.height, 'event')} left out: {reason}"
        findings.append(Finding(kind=reason, count=known.height, message=message, where=where, rejected=True))
        roles = plan.manifest.columns["events"]
        shown = known.select("line", pl.lit(reason).alias("reason"), pl.exclude("line", _TIME))
        shown = shown.rename({_USER: roles["user"], _ITEM: roles["item"]})
        rejected = stacked(rejected, shown, path) if rejected.height else shown
    left = new.filter(~there)
    if not left.height:
        told = "; ".join(one.line() for one in findings if one.rejected)
        raise DataError(f"expected new events in {path}, found none: {told}")
    return _Addition(events=left, plan=plan, rejected=rejected, findings=findings)


def _plan_together(dataset: Dataset, combined: pl.DataFrame, item_ids: pl.Series) -> Plan:
    """The plan of all events, with numbers of rows of ``combined`` (from 1) as lines."""
    asked = dataset.manifest.options
    columns = _column_splits(dataset)
    options = replace(
        asked,
        columns={
            "user": _USER,
            "item": _ITEM,
            "time": _TIME if _TIME in combined.columns else "",
            "rating": "",
        },
        splits=tuple(dict.fromkeys(entry.kind for entry in dataset.manifest.splits.values())),
        split_columns=tuple(columns),
        min_rating=None,
        types=(),
        time_unit="us",
        strict=False,
    )
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        combined.select(
            _USER, _ITEM, *([_TIME] if _TIME in combined.columns else []), *columns
        ).write_parquet(place / "events.parquet")
        item_ids.alias(_ITEM).to_frame().write_parquet(place / "items.parquet")
        features, graphs = padded_modalities(dataset, place, len(item_ids))
        sources = Sources(
            events=place / "events.parquet", items=place / "items.parquet", features=features, graphs=graphs
        )
        return plan_build(sources, options)


def _finished(
    dataset: Dataset, plan: Plan, combined: pl.DataFrame, known: _NewItems, added: _Addition
) -> Plan:
    """The plan with rows of users as they were, everything known of events and items, and what was noticed."""
    new_users = plan.users["user_id"].filter(~plan.users["user_id"].is_in(dataset.user_ids.implode()))
    users = pl.concat([dataset.user_ids, new_users])
    row_of = rows_of(plan.users["user_id"], users)
    order = plan.interactions["line"] - 1
    rest = combined.drop(_USER, _ITEM, _TIME, *_column_splits(dataset), strict=False)
    interactions = pl.DataFrame(
        [row_of.gather(plan.interactions["user"]).alias("user"), plan.interactions["item"]]
    ).hstack(rest.select(pl.all().gather(order)))
    message = (
        f"{count(added.events.height, 'event')}, {count(len(new_users), 'user')} and "
        f"{count(known.frame.height - dataset.num_items, 'item')} added to the dataset {dataset.manifest_hash[:12]}"
    )
    told = [finding.model_copy(update={"where": ()}) for finding in plan.manifest.report.findings]
    first = Finding(kind="appended", count=added.events.height, message=message)
    report = Report(
        events_read=dataset.manifest.counts.interactions + added.plan.manifest.report.events_read,
        events_kept=interactions.height,
        events_rejected=added.rejected.height,
        findings=(first, *added.findings, *known.findings, *told),
    )
    features = {name: with_encoder(dataset, name, padded) for name, padded in plan.features.items()}
    modalities = {
        name: entry.model_copy(update={"features": features[name].entry}) if name in features else entry
        for name, entry in plan.manifest.modalities.items()
    }
    manifest = plan.manifest.model_copy(update={"modalities": modalities})
    return replace(
        plan,
        features=features,
        manifest=_manifest(dataset, manifest, known, added, report),
        interactions=interactions,
        users=numbered(users.alias("user_id").to_frame()),
        items=numbered(known.frame),
        rejected=added.rejected,
    )


def _manifest(
    dataset: Dataset, planned: Manifest, known: _NewItems, added: _Addition, report: Report
) -> Manifest:
    parent = dataset.manifest
    sources = {role: entry for role, entry in added.plan.manifest.sources.items() if role != "items"}
    if known.entry is not None:
        sources["items"] = known.entry
    return planned.model_copy(
        update={
            "parent": dataset.manifest_hash,
            "shuffle_seed": parent.shuffle_seed,
            "sources": sources,
            "columns": {
                "events": parent.columns["events"],
                "items": {**known.roles, **parent.columns["items"]},
            },
            "options": parent.options,
            "report": report,
        }
    )
