"""Which picture of a folder belongs to which item, without ever leaving the folder.

The folder is walked once. Hidden files and folders are passed over there, and links to folders are not walked, so
there is no going round in circles; a catalogue may name what lies behind either. Names are compared in Unicode's
composed form (NFC), since folders that come from macOS hold accents apart from their letters.

Shape legend
    I  items
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from fuserec.content.encoder import Problem
from fuserec.content.pictures.read import PictureError
from fuserec.errors import DataError

__all__ = ["SUFFIXES", "Found", "find_pictures"]

SUFFIXES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")
"""Of files that are named after an item, in any case."""

_NAMED_AFTER = re.compile(rf"(.+)\.(?:{'|'.join(SUFFIXES)})", re.IGNORECASE | re.DOTALL)
_URL = re.compile(r"[a-z][a-z0-9+.-]*://|data:", re.IGNORECASE)

_MISSING = "there is no such file in the folder"

_Kind = Literal["file", "link", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The pictures of a folder, by item.

    Attributes:
        paths: (I,) a regular file below the folder, with no link on the way from there; None where there is none.
        problems: in the order of the items, none for an item that is said to have no picture.
        strangers: how many files belong to no item.
        closed: folders inside it that could not be opened.
    """

    paths: tuple[Path | None, ...]
    problems: tuple[Problem, ...]
    strangers: int
    closed: tuple[str, ...]


def find_pictures(root: Path, ids: Sequence[str], named: Sequence[str | None] | None = None) -> Found:
    """Find the picture of each item.

    Args:
        root: the folder.
        ids: (I,) of the items. Without ``named``, the picture of ``red/7`` is ``red/7.jpg`` (or another of
            `SUFFIXES`, in any case), or ``red%2F7.jpg`` with the id percent-encoded.
        named: (I,) the pictures' places in the catalogue's words: paths below the folder, or below its parent and
            beginning with the folder's own name; with slashes, or backslashes where these name no file. None or
            blank where an item has no picture.

    Raises:
        DataError: the folder is missing or cannot be read.
    """
    files, closed = _walk(root)
    real_root = root.resolve()
    fitting = _by_id(files) if named is None else _by_name(files, root.absolute().name, real_root)
    paths: list[Path | None] = []
    problems: list[Problem] = []
    taken: set[str] = set()
    for position, asked in enumerate(ids if named is None else named):
        path = None
        if asked is not None and (named is None or asked.strip()):
            try:
                places = fitting(asked)
                place = places[0] if files.get(places[0]) == "file" else _settle(real_root, places[0])
            except PictureError as error:
                problems.append(Problem(position=position, kind=error.kind, message=error.message, lost=True))
            else:
                path = root / place
                taken.update(places, (place,))
                if len(places) > 1:
                    message = (
                        f"{len(places)} files fit; {_quoted(places[:1])} was taken, not {_quoted(places[1:])}"
                    )
                    problems.append(Problem(position=position, kind="ambiguous", message=message, lost=False))
        paths.append(path)
    return Found(
        paths=tuple(paths),
        problems=tuple(problems),
        strangers=len(files.keys() - taken),
        closed=tuple(closed),
    )


def _walk(root: Path) -> tuple[dict[str, _Kind], list[str]]:
    """What lies below the folder, by its path from there with slashes, and the folders that are closed.

    Raises:
        DataError: the folder itself is missing or cannot be read.
    """
    files: dict[str, _Kind] = {}
    closed: list[str] = []
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(root / below) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    place = below + entry.name
                    # Neither asks the disk again: the folder itself says what its entries are.
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(place + "/")
                    else:
                        plain = entry.is_file(follow_symlinks=False)
                        files[place] = "file" if plain else "link" if entry.is_symlink() else "other"
        except (OSError, ValueError) as error:
            if not below:
                reason = error.strerror if isinstance(error, OSError) else None
                raise DataError(f"expected a folder of pictures, but {root}: {reason or error}") from error
            closed.append(below.rstrip("/"))
    return files, sorted(closed)


def _by_id(files: Iterable[str]) -> Callable[[str], list[str]]:
    """Finds the files that are named after an id, the first by name first."""
    places: defaultdict[str, set[str]] = defaultdict(set)
    for place in files:
        if match := _NAMED_AFTER.fullmatch(place):
            for name in {match[1], unquote(match[1])}:
                places[_composed(name)].add(place)

    def fitting(item_id: str) -> list[str]:
        found = places.get(_composed(item_id))
        if not found:
            raise PictureError("missing", "no picture in the folder is named after the id")
        return sorted(found)

    return fitting


def _by_name(files: Iterable[str], root_name: str, real_root: Path) -> Callable[[str], list[str]]:
    """Finds the files that a catalogue names, the one of exactly this name first."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for place in files:
        places[_composed(place)].append(place)

    def fitting(name: str) -> list[str]:
        readings = list(_readings(name, root_name))
        for reading in readings:
            if found := places.get(_composed(reading)):
                return sorted(found, key=lambda place: (place != reading, place))
        # Behind a link to a folder, hidden, a folder, or not there: only the disk knows.
        for reading in readings:
            if _exists(real_root, reading):
                return [reading]
        raise PictureError("missing", _MISSING)

    return fitting


def _readings(name: str, root_name: str) -> Iterable[str]:
    """Where a picture may be that a catalogue names, the most literal reading first.

    Raises:
        PictureError: it can only be outside the folder.
    """
    if _URL.match(name):
        raise PictureError("url", "expected a file of the folder, got a URL; nothing is downloaded")
    for written in dict.fromkeys((name, name.replace("\\", "/"))):
        if written.startswith("/") or re.match("[A-Za-z]:/", written):
            raise PictureError("outside", "expected a path from the folder on, got an absolute one")
        parts = [part for part in written.split("/") if part not in {"", "."}]
        if ".." in parts:
            raise PictureError("outside", "expected a path from the folder on, got one with '..' in it")
        yield "/".join(parts)
        if len(parts) > 1 and _composed(parts[0]) == _composed(root_name):
            yield "/".join(parts[1:])


def _exists(real_root: Path, place: str) -> bool:
    """False where nothing stands at the place; True also where that cannot be told."""
    try:
        os.lstat(f"{real_root}/{place}")
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return True


def _settle(real_root: Path, place: str) -> str:
    """The place of a regular file once all links are followed.

    Raises:
        PictureError: there is none, or not in the folder.
    """
    try:
        real = (real_root / place).resolve(strict=True)
        inside = real.is_relative_to(real_root)
        mode = real.stat().st_mode if inside else 0
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise PictureError("missing", _MISSING) from error
    except (OSError, RuntimeError) as error:
        raise PictureError("unreadable", f"the file cannot be reached: {_reason(error)}") from error
    if not inside:
        raise PictureError("link", "a link on the way leads out of the folder; copy the file into it")
    if stat.S_ISDIR(mode):
        raise PictureError("not a file", "expected a file, got a folder")
    if not stat.S_ISREG(mode):
        raise PictureError("not a file", "expected a regular file, got a pipe, a device or a socket")
    return str(real.relative_to(real_root))


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _quoted(places: Sequence[str]) -> str:
    return ", ".join(map(repr, places[:3])) + (", ..." if len(places) > 3 else "")


def _reason(error: OSError | RuntimeError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "its links lead in a circle"
