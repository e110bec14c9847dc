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

from fuserec.data.dataset import Dataset
from fuserec.data.features import read_features
from fuserec.data.more_items import read_more_items
from fuserec.data.report import count
from fuserec.data.schema import Finding, SourceEntry
from fuserec.data.stacked import stacked
from fuserec.errors import ConfigError, DataError, nearest
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
    more = read_more_items(path, known["item_id"], options, remedy="give the new items such ids")
    if not more.new.height:
        raise DataError(
            f"expected new items in {path}, found none: {count(len(more.ids), 'item')} of it already there; items that "
            "are there stay as they are"
        )
    return NewItems(
        frame=stacked(known, more.new, path)[known.height :],
        file_ids=more.ids,
        columns=more.roles,
        source=more.source,
        findings=tuple(more.passed_over("what is known of them", named=5)),
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
