"""The folder that MMRec trains on, as a dataset.

Source: https://github.com/enoche/MMRec, its data folder. ``NAME.inter`` is separated by tabs, with the columns
userID and itemID (numbers from 0), x_label (0 trains, 1 validates, 2 tests) and maybe rating and timestamp;
``image_feat.npy``, ``text_feat.npy`` and any other ``*_feat.npy`` hold a row for every itemID; the original ids
stand in ``u_id_mapping.csv`` and ``i_id_mapping.csv``, where those are there.

Shape legend
    I  items
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fuserec.data.build import make_dataset, refuse_place
from fuserec.data.dataset import Dataset
from fuserec.data.ids import as_ids
from fuserec.data.plan import Plan, Sources, plan_build
from fuserec.data.report import places
from fuserec.data.schema import PARTS, BuildOptions, SourceEntry, check_name
from fuserec.data.sources.csv import read_csv
from fuserec.data.sources.formats import require_file
from fuserec.data.sources.table import Table
from fuserec.errors import DataError
from fuserec.files import read_array, sha256_file

__all__ = ["FEATURES_END", "ITEM_IDS", "LABELS", "SPLIT", "USER_IDS", "import_mmrec"]

USER_IDS, ITEM_IDS = "u_id_mapping.csv", "i_id_mapping.csv"
FEATURES_END = "_feat.npy"
SPLIT = "x_label"
LABELS: Mapping[str, str] = {str(code): part for code, part in enumerate(PARTS)}
"""What x_label says of an event."""

_USER, _ITEM = "userID", "itemID"
_NUMBER = r"^\s*[0-9]{1,9}\s*$"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Folder:
    """The files of MMRec that a folder holds."""

    events: Path
    features: Mapping[str, Path]
    user_ids: Path | None
    item_ids: Path | None

    def by_role(self) -> dict[str, Path]:
        named = {"events": self.events, "users": self.user_ids, "items": self.item_ids}
        there = {role: path for role, path in named.items() if path is not None}
        return there | {f"features/{name}": path for name, path in self.features.items()}


def import_mmrec(folder: Path, out: Path, *, repeats: str = "drop", overwrite: bool = False) -> Dataset:
    """Make a dataset of MMRec's folder; its split is called ``x_label``.

    Items keep their order: the row of an item is its itemID. With mapping files the ids are the original ones, else
    the numbers of MMRec.

    Args:
        folder: holds one ``.inter`` file and what belongs to it.
        out: where the dataset shall stand.
        repeats: ``drop`` or ``keep``, as in `fuserec.data.schema.BuildOptions`.
        overwrite: replace a dataset that stands there.

    Raises:
        DataError: a file is missing, broken, pickled, or disagrees with another, or ``out`` cannot be written.
        ConfigError: an option has a value that cannot be used.
    """
    folder, out = Path(folder), Path(out)
    options = BuildOptions(split_columns=(SPLIT,), repeats=repeats)
    found = _look_into(folder)
    refuse_place(out, [folder, *found.by_role().values()], overwrite=overwrite)
    table = read_csv(found.events, separator="\t")
    _check_columns(table)
    if not table.frame.height:
        raise DataError(f"expected at least one event in {found.events}, found none below the header")
    users, items = _numbers(table, _USER), _numbers(table, _ITEM)
    user_ids = _original_ids(found.user_ids, _USER, users)
    item_ids = _original_ids(found.item_ids, _ITEM, items, at_least=_feature_rows(found.features))
    events = table.frame.with_columns(
        user_ids.gather(users).alias(_USER), item_ids.gather(items).alias(_ITEM), _parts(table)
    )
    with tempfile.TemporaryDirectory() as scratch:
        sources = Sources(
            events=Path(scratch) / f"{found.events.stem}.parquet",
            items=Path(scratch) / "items.parquet",
            features=found.features,
        )
        events.write_parquet(sources.events)
        item_ids.alias(_ITEM).to_frame().write_parquet(str(sources.items))
        plan = plan_build(sources, options)
    entries = {
        role: SourceEntry(name=path.name, bytes=path.stat().st_size, sha256=sha256_file(path))
        for role, path in found.by_role().items()
    }
    plan = _told_of(table, plan)
    manifest = plan.manifest.model_copy(update={"sources": entries})
    return make_dataset(out, replace(plan, manifest=manifest), overwrite=overwrite)


def _told_of(table: Table, plan: Plan) -> Plan:
    """The plan of the table that stood in for MMRec's file, with the lines of that file."""

    def place(stand_in: str) -> str:
        return table.where(int(re.split(r"[ :]", stand_in)[-1]) - 1)

    def line(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(pl.Series("line", table.numbers[frame["line"].to_numpy() - 1]))

    report = plan.manifest.report
    findings = tuple(
        finding.model_copy(update={"where": tuple(map(place, finding.where))}) for finding in report.findings
    )
    manifest = plan.manifest.model_copy(update={"report": report.model_copy(update={"findings": findings})})
    rejected = line(plan.rejected) if plan.rejected.height else plan.rejected
    return replace(plan, manifest=manifest, interactions=line(plan.interactions), rejected=rejected)


def _look_into(folder: Path) -> _Folder:
    if not folder.is_dir():
        told = "is a file" if folder.exists() else "does not exist"
        raise DataError(f"expected a folder of MMRec, but {folder} {told}")
    logs = sorted(folder.glob("*.inter"))
    if len(logs) != 1:
        names = ", ".join(path.name for path in logs) or "none"
        raise DataError(f"expected one .inter file in {folder}, found {names}")
    features = {
        check_name(path.name.removesuffix(FEATURES_END), "modality"): path
        for path in sorted(folder.glob(f"*{FEATURES_END}"))
    }
    for path in features.values():
        _refuse_pickled(path)
    maps = [folder / name if (folder / name).exists() else None for name in (USER_IDS, ITEM_IDS)]
    require_file(logs[0], (".inter",))
    return _Folder(events=logs[0], features=features, user_ids=maps[0], item_ids=maps[1])


def _refuse_pickled(path: Path) -> None:
    """Raise where a matrix is stored as Python objects; reading those can run whatever the file says."""
    require_file(path, (".npy",))
    with path.open("rb") as file:
        start = file.read(128)
    # A pickle begins with its protocol; in an .npy header the type of Python objects is written '|O'.
    if start[:1] == b"\x80" or (start.startswith(b"\x93NUMPY") and b"'|O'" in start):
        raise DataError(
            f"expected a plain matrix in {path}, got pickled objects, which are never loaded; "
            "save it again with numpy.save as an array of float32"
        )


def _check_columns(table: Table) -> None:
    names = table.frame.columns
    missing = [name for name in (_USER, _ITEM, SPLIT) if name not in names]
    if not missing:
        return
    if any(":" in name for name in names):
        raise DataError(
            f"expected the columns userID, itemID and x_label of MMRec in {table.path}, found typed ones of RecBole "
            f"({', '.join(map(repr, names))}); pass it to fuserec data build --events"
        )
    raise DataError(
        f"expected the columns userID, itemID and x_label in {table.path}, separated by tabs, "
        f"found {', '.join(map(repr, names))}"
    )


def _numbers(table: Table, column: str) -> pl.Series:
    """A column of MMRec's own numbers.

    Raises:
        DataError: a value is no number from 0.
    """
    text = table.frame[column]
    wrong = (~text.str.contains(_NUMBER)).fill_null(value=True).arg_true()
    if len(wrong):
        raise DataError(
            f"expected numbers from 0 in the column {column!r} of {table.path}, got {text[int(wrong[0])]!r} "
            f"({', '.join(places(table, wrong.head(5).to_list()))})"
        )
    return text.str.strip_chars().cast(pl.Int64)


def _parts(table: Table) -> pl.Series:
    """x_label as the names of the parts."""
    text = table.frame[SPLIT]
    parts = text.str.strip_chars().replace_strict(LABELS, default=None, return_dtype=pl.String)
    wrong = parts.is_null().arg_true()
    if len(wrong):
        raise DataError(
            f"expected 0 (train), 1 (valid) or 2 (test) in the column 'x_label' of {table.path}, "
            f"got {text[int(wrong[0])]!r} ({', '.join(places(table, wrong.head(5).to_list()))})"
        )
    return parts.alias(SPLIT)


def _feature_rows(features: Mapping[str, Path]) -> int:
    """Rows of the longest matrix; `fuserec.data.features` tells where another is shorter."""
    matrices: list[NDArray[Any]] = [read_array(path) for path in features.values()]
    return max((len(matrix) for matrix in matrices if matrix.ndim), default=0)


def _original_ids(path: Path | None, column: str, numbers: pl.Series, *, at_least: int = 0) -> pl.Series:
    """(I,) the id of each number from 0 on; the numbers themselves where there is no mapping.

    Raises:
        DataError: the mapping has another layout, or lacks or repeats a number.
    """
    size = max(at_least, int(numbers.to_numpy().max()) + 1)
    if path is None:
        if size > max(at_least, 1000 + 100 * numbers.n_unique()):
            raise DataError(
                f"expected {column} to count from 0 without wide gaps, as MMRec needs it, got {size - 1} "
                f"as one of {numbers.n_unique()} numbers"
            )
        return pl.int_range(size, eager=True, dtype=pl.Int64)
    require_file(path, (".csv",))
    with path.open("rb") as file:
        table = read_csv(path, separator="\t" if b"\t" in file.readline() else ",")
    others = [name for name in table.frame.columns if name != column]
    if table.frame.width != 2 or len(others) != 1:
        found = ", ".join(map(repr, table.frame.columns))
        raise DataError(f"expected {column!r} and a column of original ids in {path}, found {found}")
    known, ids = _numbers(table, column).to_numpy(), as_ids(table, others[0])
    if ids.null_count() or ids.n_unique() != len(ids):
        raise DataError(f"expected an original id, each once, in every row of {path}")
    if len(known) < size or not np.array_equal(np.sort(known), np.arange(len(known))):
        raise DataError(
            f"expected every {column} from 0 to {max(size, len(known)) - 1} once in {path}, got {len(known)} rows "
            f"with {len(np.unique(known))} different ones"
        )
    return ids.gather(np.argsort(known))
