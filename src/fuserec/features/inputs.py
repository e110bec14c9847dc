"""What there is to encode: the titles, texts, pictures, categories and numbers of a dataset, each with a hash.

Shape legend
    I  items
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fuserec.content.encoder import Problem
from fuserec.content.pictures.folder import find_pictures
from fuserec.content.pictures.read import MOST_BYTES
from fuserec.data.categories import categories_of
from fuserec.data.features import Features
from fuserec.data.report import count
from fuserec.features.store import Told

__all__ = [
    "Inputs",
    "category_inputs",
    "picture_inputs",
    "text_inputs",
    "told_of",
    "value_inputs",
    "vector_inputs",
]

_HASH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """One modality of all items, before it is encoded.

    Attributes:
        values: (I,) a text, a path or a value; None where the item has none.
        hashes: (I, 32) uint8 SHA-256 of each; zero where there is none.
        sources: (I,) where a value stands, for people; empty where that is the dataset itself.
        told: what was noticed while they were looked for.
        notes: what concerns no single item.
    """

    values: Sequence[Any]
    hashes: NDArray[np.uint8]
    sources: Sequence[str]
    told: Sequence[Told] = ()
    notes: Sequence[str] = ()

    def without(self, forgotten: NDArray[np.bool_]) -> Inputs:
        """The same without the hashes of some items."""
        return replace(self, hashes=np.where(forgotten[:, None], np.uint8(0), self.hashes))

    @property
    def hash(self) -> str:
        """Over the hashes in the order of the items."""
        return hashlib.sha256(np.ascontiguousarray(self.hashes).data).hexdigest()


def text_inputs(column: pl.Series) -> Inputs:
    """Texts that hold more than blanks; lists are joined, values of other types are written out."""
    if column.dtype == pl.List:
        column = column.cast(pl.List(pl.String)).list.join(" ")
    values = [
        text if text is not None and text.strip() else None for text in column.cast(pl.String).to_list()
    ]
    return _inputs(values, [None if text is None else text.encode() for text in values])


def value_inputs(values: list[Any]) -> Inputs:
    """Values of any type, with the hash of how they are written."""
    return _inputs(values, [None if value is None else repr(value).encode() for value in values])


def category_inputs(items: pl.DataFrame) -> Inputs:
    """The categories of each item, as lists; None where there is none."""
    return value_inputs([each or None for each in categories_of(items).to_list()])


def vector_inputs(features: Features) -> Inputs:
    """Ready rows, as their numbers in the matrix, with the hashes of what stands there."""
    values = [
        row if there else None
        for row, there in zip(features.rows.tolist(), features.present.tolist(), strict=True)
    ]
    found = _inputs(values, (None if row is None else features.matrix[row].tobytes() for row in values))
    return replace(found, notes=[finding.line() for finding in features.findings])


def picture_inputs(root: Path, item_ids: pl.Series, named: pl.Series | None) -> Inputs:
    """The pictures of a folder that belong to items, with the hashes of their bytes.

    Args:
        root: the folder; nothing outside it is looked at.
        item_ids: (I,).
        named: (I,) what the catalogue says of the pictures' places; None goes by the ids.

    Raises:
        DataError: the folder cannot be read.
    """
    ids = item_ids.cast(pl.String).to_list()
    found = find_pictures(root, ids, None if named is None else named.cast(pl.String).to_list())
    sources = ["" if path is None else _printable(path.relative_to(root)) for path in found.paths]
    told = told_of(found.problems, item_ids, sources)
    hashes = np.zeros((len(ids), _HASH), dtype=np.uint8)
    for row, path in enumerate(found.paths):
        if path is not None:
            hashes[row] = np.frombuffer(_hash_of_file(path), dtype=np.uint8)
    notes = []
    if found.strangers:
        notes.append(f"{count(found.strangers, 'file')} of {root} belong to no item")
    notes += [f"the folder {folder} in {root} cannot be opened" for folder in found.closed]
    return Inputs(values=list(found.paths), hashes=hashes, sources=sources, told=told, notes=notes)


def told_of(problems: Iterable[Problem], item_ids: pl.Series, sources: Sequence[str] = ()) -> list[Told]:
    """Problems as told of the items in their positions.

    Args:
        problems: what was noticed.
        item_ids: (I,).
        sources: (I,) as in `Inputs`; empty where all stands in the dataset itself.
    """
    ids = item_ids.cast(pl.String)
    return [
        Told(
            item_id=ids[one.position],
            source=sources[one.position] if sources else "",
            kind=one.kind,
            message=one.message,
            lost=one.lost,
        )
        for one in problems
    ]


def _inputs(values: list[Any], contents: Iterable[bytes | None]) -> Inputs:
    joined = b"".join(
        bytes(_HASH) if content is None else hashlib.sha256(content).digest() for content in contents
    )
    hashes = np.frombuffer(joined, dtype=np.uint8).reshape(len(values), _HASH)
    return Inputs(values=values, hashes=hashes, sources=[""] * len(values))


def _hash_of_file(path: Path) -> bytes:
    """SHA-256 of the bytes; of what is said instead, where the file cannot or should not be read.

    Whoever encodes it meets the same and tells it.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            about = os.fstat(handle)
            if not stat.S_ISREG(about.st_mode):
                return hashlib.sha256(b"no regular file").digest()
            if about.st_size > MOST_BYTES:
                return hashlib.sha256(f"{about.st_size} bytes".encode()).digest()
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        return hashlib.sha256(f"cannot be read: {error.errno}".encode()).digest()


def _printable(path: Path) -> str:
    """The path as text; bytes that are no UTF-8 are written as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
