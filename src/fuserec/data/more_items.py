"""A catalogue of items for those that have a dataset, or a run, already.

Shape legend
    R  items of the file   N  those that are new
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from fuserec.data.columns import item_columns
from fuserec.data.ids import typed_ids
from fuserec.data.items import read_catalogue
from fuserec.data.report import count
from fuserec.data.schema import BuildOptions, Finding, SourceEntry
from fuserec.data.sources.formats import read_table
from fuserec.files import sha256_file

__all__ = ["MoreItems", "read_more_items"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreItems:
    """What a catalogue has, and what of it is new.

    Attributes:
        ids: (R,) all ids of the file, in the type of those known.
        there: (R,) True for those that were known.
        new: N rows with ``item_id`` and content, in the order of the file.
        roles: the file's columns by role.
        source: of the file.
    """

    ids: pl.Series
    there: pl.Series
    new: pl.DataFrame
    roles: Mapping[str, str]
    source: SourceEntry

    def passed_over(self, stays: str, *, named: int = 0) -> list[Finding]:
        """That items were known, if any were.

        Args:
            stays: what stays as it is, for the message.
            named: at most so many of them are named.
        """
        number = int(self.there.sum())
        if not number:
            return []
        message = f"{count(number, 'item')} of {self.source.name} already there; {stays} stays"
        where = tuple(str(each) for each in self.ids.filter(self.there).head(named))
        return [Finding(kind="known item", count=number, message=message, where=where)]


def read_more_items(path: Path, known: pl.Series, options: BuildOptions, *, remedy: str) -> MoreItems:
    """Read a catalogue as a build reads it, and tell the new items from the known ones.

    Args:
        path: CSV, TSV, JSON Lines or Parquet.
        known: ids of all items that there are.
        options: say which column plays which role.
        remedy: what to do about ids of another type, for the message.

    Raises:
        DataError: the file or a value in it cannot be used.
    """
    table = read_table(path)
    columns = item_columns(path, table.frame.columns, options)
    catalogue = read_catalogue(table, columns)
    ids = typed_ids(known, catalogue.ids, "items", path, remedy=remedy).alias("item_id")
    there = ids.is_in(known.implode())
    return MoreItems(
        ids=ids,
        there=there,
        new=pl.DataFrame([ids]).hstack(catalogue.content.get_columns()).filter(~there),
        roles=columns.roles(),
        source=SourceEntry(name=path.name, bytes=path.stat().st_size, sha256=sha256_file(path)),
    )
