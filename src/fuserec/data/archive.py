"""Zip files from elsewhere, unpacked so that nothing lands outside the folder or grows without bounds."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from fuserec.errors import DataError

__all__ = ["unpack"]

_MOST_FILES = 1000
_MOST_BYTES = 1 << 30
_CHUNK = 1 << 20


def unpack(archive: Path, folder: Path, *, most_bytes: int = _MOST_BYTES) -> None:
    """Unpack a zip file into an empty folder, without the one folder around everything in it.

    Args:
        archive: the zip file.
        folder: where its files shall stand.
        most_bytes: all of them together may be so large.

    Raises:
        DataError: the file is no zip file or a broken one, a member would land elsewhere or is a link, or there is
            too much.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            places = dict(_places(archive.name, file, most_bytes))
            left = most_bytes
            for member, place in places.items():
                target = folder / place
                target.parent.mkdir(parents=True, exist_ok=True)
                left -= _copy(file, member, target, left)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"expected a whole zip file, but {archive.name} is broken: {error}") from error


def _places(
    name: str, file: zipfile.ZipFile, most_bytes: int
) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """Every file in the archive and where it shall stand."""
    members = [member for member in file.infolist() if not member.is_dir()]
    if len(members) > _MOST_FILES:
        raise DataError(f"expected at most {_MOST_FILES} files in {name}, got {len(members)}")
    declared = sum(member.file_size for member in members)
    if declared > most_bytes:
        raise DataError(f"expected at most {most_bytes:,} bytes in {name}, got {declared:,}")
    paths = [_checked(name, member) for member in members]
    around = {path.parts[0] for path in paths}
    inner = len(around) == 1 and all(len(path.parts) > 1 for path in paths)
    for member, path in zip(members, paths, strict=True):
        yield member, PurePosixPath(*path.parts[1:]) if inner else path


def _checked(name: str, member: zipfile.ZipInfo) -> PurePosixPath:
    """The path of a member, if it leads to a plain file inside."""
    path = PurePosixPath(member.filename)
    outside = path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename
    if outside or not path.parts:
        raise DataError(
            f"expected files inside {name}, but {member.filename!r} would land outside its folder"
        )
    if stat.S_ISLNK(member.external_attr >> 16):
        raise DataError(f"expected plain files in {name}, but {member.filename!r} is a link")
    return path


def _copy(file: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, left: int) -> int:
    """Copy a member and hand back its size; zipfile compares its checksum at the end."""
    size = 0
    with file.open(member) as source, target.open("xb") as out:
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            if size > left:
                raise DataError(
                    f"expected a member of {member.file_size:,} bytes, but {member.filename!r} is larger"
                )
            out.write(chunk)
    return size
