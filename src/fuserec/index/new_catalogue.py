"""Items that come after training, as they stand in their file.

Shape legend
    R  items of the file   N  those that are new
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch

from fuserec.data.columns import item_columns
from fuserec.data.dataset import Dataset
from fuserec.data.features import read_features
from fuserec.data.ids import to_type_of
from fuserec.data.items import read_catalogue
from fuserec.data.report import count
from fuserec.data.schema import Finding, SourceEntry
from fuserec.data.sources.formats import read_table
from fuserec.data.stacked import stacked
from fuserec.errors import ConfigError, DataError, nearest
from fuserec.files import sha256_file
from fuserec.index.extension import NewRows

__all__ = ["NewItems", "read_new_items", "ready_rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItems:
    """What a catalogue has that was not known.

    Attributes:
        frame: N rows with ``item_id`` and content, in the order of the file.
        file_ids: (R,) all ids of the file, in the type of those known.
        columns: the file's columns by role.
        source: of the file.
        findings: what was noticed.
    """

    frame: pl.DataFrame
    file_ids: pl.Series
    columns: Mapping[str, str]
    source: SourceEntry
    findings: tuple[Finding, ...]


def read_new_items(
    path: Path, dataset: Dataset, known: pl.DataFrame, *, columns: Mapping[str, str] | None = None
) -> NewItems:
    """Read a catalogue as the dataset's was read, and pass over what is known already.

    Args:
        path: CSV, TSV, JSON Lines or Parquet.
        dataset: says which column plays which role.
        known: ``item_id`` and content of all items that there are.
        columns: columns by role where they are called otherwise than in the dataset's own file.

    Raises:
        DataError: the file or a value in it cannot be used, or nothing in it is new.
    """
    path = Path(path)
    options = dataset.manifest.options
    options = replace(options, columns={**options.columns, **(columns or {})})
    table = read_table(path)
    found = item_columns(path, table.frame.columns, options)
    catalogue = read_catalogue(table, found)
    ids = to_type_of(known["item_id"], catalogue.ids).alias("item_id")
    if ids.null_count():
        first = catalogue.ids.filter(ids.is_null())[0]
        raise DataError(
            f"expected integers as ids of items in {path}, as the dataset has them, got {first!r}; give the new items "
            "such ids"
        )
    there = ids.is_in(known["item_id"].implode())
    if there.all():
        raise DataError(
            f"expected new items in {path}, found none: {count(len(ids), 'item')} of it already there; items that are "
            "there stay as they are"
        )
    findings = []
    if there.any():
        message = (
            f"{count(int(there.sum()), 'item')} of {path.name} already there; what is known of them stays"
        )
        where = tuple(str(each) for each in ids.filter(there).head(5))
        findings.append(Finding(kind="known item", count=int(there.sum()), message=message, where=where))
    new = pl.DataFrame([ids]).hstack(catalogue.content.get_columns()).filter(~there)
    return NewItems(
        frame=stacked(known, new, path)[known.height :],
        file_ids=ids,
        columns=found.roles(),
        source=SourceEntry(name=path.name, bytes=path.stat().st_size, sha256=sha256_file(path)),
        findings=tuple(findings),
    )


def ready_rows(
    dataset: Dataset, new: NewItems, files: Mapping[str, Path]
) -> tuple[dict[str, NewRows], tuple[Finding, ...]]:
    """Vectors that come ready, for the new items.

    Args:
        dataset: must have features of those names, made in the same way.
        new: the items.
        files: by modality: .npz or Parquet with ids, or .npy with a row for every item of the catalogue's file.

    Returns:
        The rows by modality, and what was noticed.

    Raises:
        ConfigError: the dataset has no features of that name.
        DataError: a file is broken, or of another width.
    """
    rows, findings = {}, []
    is_new = new.file_ids.is_in(new.frame["item_id"].implode()).to_numpy()
    for name, path in files.items():
        known = {name: each.features for name, each in dataset.manifest.modalities.items() if each.features}
        if name not in known:
            raise ConfigError(
                f"expected a modality that {dataset.path} has features of, got {name!r}; {nearest(name, known)}"
            )
        features = read_features(name, Path(path), new.file_ids, ordered=True)
        if features.matrix.shape[1] != known[name].width:
            raise DataError(
                f"expected {known[name].width} numbers an item in {path}, as the dataset's {name} features have, got "
                f"{features.matrix.shape[1]}; make them as those were made"
            )
        whole = np.concatenate([np.asarray(block, dtype=np.float32) for block in features.blocks()])
        rows[name] = NewRows(
            features=torch.from_numpy(whole[is_new]), present=torch.from_numpy(features.present[is_new])
        )
        findings += [finding for finding in features.findings if finding.kind != "missing features"]
    return rows, tuple(findings)
