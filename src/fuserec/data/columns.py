"""Which column plays which role: as told by ``--columns``, else by its common names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fuserec.data.schema import COLUMN_ROLES, BuildOptions
from fuserec.errors import ConfigError, DataError, nearest

__all__ = ["EventColumns", "ItemColumns", "event_columns", "find_id_column", "item_columns", "parse_columns"]

_COMMON_NAMES: Mapping[str, tuple[str, ...]] = {
    "user": ("user", "userid", "uid", "reviewerid", "customerid", "visitorid"),
    "item": ("item", "itemid", "iid", "movieid", "productid", "articleid", "trackid", "asin", "parentasin"),
    "time": ("time", "timestamp", "unixreviewtime", "datetime", "date", "ts"),
    "rating": ("rating", "overall", "stars"),
    "type": ("type", "event", "eventtype", "eventname", "action", "behavior", "behaviour", "behaviortype"),
    "split": ("split",),
    "title": ("title", "name"),
    "category": ("category", "categories", "genre", "genres"),
    "text": ("text", "description", "abstract"),
    "image": ("image", "imagepath", "imageurl", "imurl"),
    "available": ("available", "isavailable"),
}
"""Common names of a role, without case and punctuation; of several for content the first one wins."""

_CONTENT = ("title", "category", "text", "image", "available")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventColumns:
    """Columns of the events; the rest of them is kept under their own names."""

    user: str
    item: str
    time: str | None
    rating: str | None
    type: str | None
    splits: tuple[str, ...]

    def roles(self) -> dict[str, str]:
        """Role and column, for the manifest."""
        named = {
            "user": self.user,
            "item": self.item,
            "time": self.time,
            "rating": self.rating,
            "type": self.type,
        }
        return {role: column for role, column in named.items() if column is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemColumns:
    """Columns of the items; ``content`` maps title, category, text, image, available to theirs."""

    item: str
    content: Mapping[str, str]

    def roles(self) -> dict[str, str]:
        """Role and column, for the manifest."""
        return {"item": self.item, **self.content}


def parse_columns(text: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """``role=column,role=column`` as the roles and the split columns.

    Raises:
        ConfigError: it is written in another way, or names a role that is none or twice.

    Example:
        >>> parse_columns("user=who,time=,split=a,split=b")
        ({'user': 'who', 'time': ''}, ('a', 'b'))
    """
    columns: dict[str, str] = {}
    splits: list[str] = []
    for pair in filter(None, text.split(",")):
        role, equals, column = (part.strip() for part in pair.partition("="))
        if not equals:
            raise ConfigError(f"expected --columns ROLE=COLUMN,ROLE=COLUMN, got {pair!r}")
        if role not in (*COLUMN_ROLES, "split"):
            raise ConfigError(f"no column role {role!r}; {nearest(role, (*COLUMN_ROLES, 'split'))}")
        if role in columns or (role == "split" and column in splits):
            raise ConfigError(f"expected every role once in --columns, but {role}= is given twice")
        if role == "split":
            splits.append(column)
        else:
            columns[role] = column
    return columns, tuple(splits)


def event_columns(path: Path, names: Sequence[str], options: BuildOptions) -> EventColumns:
    """The columns of an events table.

    Raises:
        DataError: a column is missing, several could play a role, or one plays two.
    """
    wanted = options.columns
    columns = EventColumns(
        user=_required(path, names, "user", wanted),
        item=_required(path, names, "item", wanted),
        time=_optional(path, names, "time", wanted),
        rating=_optional(path, names, "rating", wanted),
        type=_type_column(path, names, options),
        splits=_split_columns(path, names, options),
    )
    played: dict[str, str] = {}
    for role, column in [*columns.roles().items(), *(("split", column) for column in columns.splits)]:
        if column in played:
            raise DataError(
                f"expected a column for each role in {path}, but {column!r} is {played[column]} and {role}; "
                f"say which with --columns {role}=..."
            )
        played[column] = role
    return columns


def item_columns(path: Path, names: Sequence[str], options: BuildOptions) -> ItemColumns:
    """The columns of an items table; the id may have another name there than in the events.

    Raises:
        DataError: a column is missing, or several could hold the ids.
    """
    told = options.columns.get("item", "")
    item = told if told in names else find_id_column(path, names)
    content = {}
    for role in _CONTENT:
        if role in options.columns:
            column = _optional(path, names, role, options.columns)
        else:
            found = _common(names, role, besides=item)
            column = found[0] if found else None
        if column is not None:
            content[role] = column
    return ItemColumns(item=item, content=content)


def find_id_column(path: Path, names: Sequence[str]) -> str:
    """The column of item ids in a table about items, by its common names (``id`` too).

    Raises:
        DataError: there is none, or several.
    """
    found = _common(names, "item") or [name for name in names if name.lower() == "id"]
    return _only(path, names, "item", found)


def _required(path: Path, names: Sequence[str], role: str, wanted: Mapping[str, str]) -> str:
    if role in wanted:
        return _named(path, names, role, wanted[role])
    return _only(path, names, role, _common(names, role))


def _optional(path: Path, names: Sequence[str], role: str, wanted: Mapping[str, str]) -> str | None:
    if role in wanted:
        return _named(path, names, role, wanted[role]) if wanted[role] else None
    found = _common(names, role)
    return _only(path, names, role, found) if found else None


def _type_column(path: Path, names: Sequence[str], options: BuildOptions) -> str | None:
    """Looked for where types are asked for only: a column called ``event`` may be anything."""
    if options.columns.get("type"):
        return _named(path, names, "type", options.columns["type"])
    return _required(path, names, "type", {}) if options.types else None


def _split_columns(path: Path, names: Sequence[str], options: BuildOptions) -> tuple[str, ...]:
    if options.split_columns:
        return tuple(_named(path, names, "split", column) for column in options.split_columns if column)
    if options.splits and "column" not in options.splits:
        return ()
    found = _common(names, "split")
    if not found and "column" in options.splits:
        return (_only(path, names, "split", found),)
    return tuple(found[:1])


def _named(path: Path, names: Sequence[str], role: str, column: str) -> str:
    if column in names:
        return column
    raise DataError(
        f"expected the column {column!r} ({role}=) in {path}, found {_listed(path, names)}"
        + (f"; {nearest(column, names)}" if len(names) > 1 and nearest(column, names)[0] == "d" else "")
    )


def _only(path: Path, names: Sequence[str], role: str, found: Sequence[str]) -> str:
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(map(repr, found))
        raise DataError(
            f"expected one {role} column in {path}, but it could be {several}; say which with --columns {role}=..."
        )
    raise DataError(
        f"expected the {role} column in {path}, found {_listed(path, names)}"
        + (f"; say which with --columns {role}=..." if len(names) > 1 else "")
    )


def _listed(path: Path, names: Sequence[str]) -> str:
    """The columns there are, with a hint where they are one only because the separator is another."""
    if not names:
        return "no columns"
    if len(names) != 1:
        return "the columns " + ", ".join(map(repr, names))
    for mark, name in ((";", "';'"), ("\t", "a tab"), ("|", "'|'"), ("::", "'::'"), (",", "','")):
        if mark in names[0]:
            expected = "a comma" if path.suffix.lower() == ".csv" else "a tab"
            return (
                f"one column {names[0]!r}; is the separator {name}? a {path.suffix} file is read with {expected} "
                "(.csv takes commas, .tsv takes tabs)"
            )
    return f"one column {names[0]!r}"


def _common(names: Iterable[str], role: str, *, besides: str | None = None) -> list[str]:
    """The columns with a common name of the role, in the order of the common names."""
    known = _COMMON_NAMES[role]
    plain = {name: re.sub(r"[^a-z0-9]", "", name.lower()) for name in names if name != besides}
    found = [name for name, short in plain.items() if short in known]
    return sorted(found, key=lambda name: known.index(plain[name]))
