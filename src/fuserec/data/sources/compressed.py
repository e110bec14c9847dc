"""Compressed text files, unpacked as they are read."""

from __future__ import annotations

import gzip
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO

import zstandard

from fuserec.errors import DataError

__all__ = ["COMPRESSED_SUFFIXES", "plain_file", "plain_suffix"]

COMPRESSED_SUFFIXES = (".gz", ".zst")

_CHUNK = 1 << 20


def plain_suffix(path: PurePath) -> str:
    """The suffix of what is in the file, in lower case.

    Example:
        >>> plain_suffix(PurePath("log.2024.CSV.gz")), plain_suffix(PurePath("log.csv"))
        ('.csv', '.csv')
    """
    if path.suffix.lower() in COMPRESSED_SUFFIXES:
        path = path.with_suffix("")
    return path.suffix.lower()


@contextmanager
def plain_file(path: Path) -> Iterator[Path]:
    """The file itself, or a temporary one with what is packed in it.

    Raises:
        DataError: it is broken, cut short, or there is no room to unpack it.
    """
    if path.suffix.lower() not in COMPRESSED_SUFFIXES:
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="fuserec-") as unpacked:
        _unpack(path, unpacked.file)
        unpacked.flush()
        yield Path(unpacked.name)


def _unpack(path: Path, out: IO[bytes]) -> None:
    with path.open("rb") as packed:
        chunks = _gzip(packed) if path.suffix.lower() == ".gz" else _zstd(packed)
        while True:
            try:
                chunk = next(chunks, None)
            except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
                kind = "gzip" if path.suffix.lower() == ".gz" else "zstd"
                raise DataError(
                    f"expected a whole {kind} file, but {path} is broken or cut short ({error})"
                ) from error
            if chunk is None:
                return
            try:
                out.write(chunk)
            except OSError as error:
                raise DataError(
                    f"cannot unpack {path} into {tempfile.gettempdir()}: {error.strerror}; "
                    "make room there, or set TMPDIR"
                ) from error


def _gzip(packed: IO[bytes]) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=packed) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _zstd(packed: IO[bytes]) -> Iterator[bytes]:
    """Frame by frame: the reader of the library takes a file that is cut short for a whole one."""
    frame = None
    while chunk := packed.read(_CHUNK):
        while chunk:
            if frame is None or frame.eof:
                frame = zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(chunk)
            chunk = frame.unused_data if frame.eof else b""
    if frame is None or not frame.eof:
        raise EOFError("the last frame has no end")
