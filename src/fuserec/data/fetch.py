"""A public data set as a folder: downloaded, compared with its checksum, unpacked; whole or absent."""

from __future__ import annotations

import hashlib
import http.client
import re
import urllib.error
import urllib.request
import urllib.response
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from fuserec.data.archive import unpack
from fuserec.data.public_sets import ADDRESS, SETS, PublicSet
from fuserec.errors import ConfigError, DataError, nearest
from fuserec.files import new_folder

__all__ = ["fetch_set", "terms_of"]

_SCHEMES = ("https", "http", "file")
_TIMEOUT = 30.0
"""Seconds without a byte after which a server counts as silent."""

_MOST_BYTES = 1 << 28
_CHUNK = 1 << 16
_MD5 = re.compile(r"\b[0-9a-f]{32}\b")

_Answer = http.client.HTTPResponse | urllib.response.addinfourl
"""Of a server, or of a file here."""

OnBytes = Callable[[int, int], None]
"""Called with the bytes that came and how many there are in all, 0 where the server does not say."""


def terms_of(name: str, *, address: str = ADDRESS) -> list[str]:
    """The terms of use of a set in short, a line each, the last one with the address of the licence.

    Raises:
        ConfigError: there is no such set.
    """
    public = _set(name)
    return [*public.terms, f"in full: {address.rstrip('/')}/{public.licence}"]


def fetch_set(
    name: str,
    out: Path,
    *,
    accept_terms: bool,
    address: str = ADDRESS,
    overwrite: bool = False,
    on_bytes: OnBytes = lambda came, size: None,  # noqa: ARG005
) -> None:
    """Download a public data set and unpack it.

    A download that breaks off leaves nothing behind; the next one begins anew.

    Args:
        name: one of `fuserec.data.public_sets.SETS`.
        out: the folder to make.
        accept_terms: that the terms of use (`terms_of`) were read and are agreed to.
        address: the folder on the web, or with ``file://`` on this machine, that holds the archive and its ``.md5``.
        overwrite: replace a folder that holds the same set.
        on_bytes: told of every piece that came.

    Raises:
        ConfigError: there is no such set, the terms were not accepted, or the address is of another kind.
        DataError: the server cannot be reached or has no such file, what came is not what its makers published, or
            ``out`` cannot be written.
    """
    public = _set(name)
    if not accept_terms:
        raise ConfigError(
            f"expected --accept-terms, since {name} may be used on its makers' terms only; read them "
            f"({address.rstrip('/')}/{public.licence}) and pass it"
        )
    if urlsplit(address).scheme not in _SCHEMES:
        raise ConfigError(
            f"expected an address that begins with https://, http:// or file://, got {address!r}"
        )
    source = f"{address.rstrip('/')}/{public.archive}"
    with new_folder(out, overwrite=overwrite, mark=public.files[0]) as stage:
        archive = stage / f".{public.archive}"
        told = _published_md5(f"{source}.md5")
        came = _download(source, archive, on_bytes)
        for expected in (told, public.md5):
            if expected is not None and came != expected:
                raise DataError(
                    f"expected the MD5 {expected} of {source}, got {came}: it was damaged on the way or is another "
                    "file; try again later"
                )
        unpack(archive, stage)
        archive.unlink()
        missing = [file for file in public.files if not (stage / file).is_file()]
        if missing:
            raise DataError(
                f"expected {', '.join(missing)} in {source}, which lacks it; its makers changed the set"
            )
        if public.finish is not None:
            public.finish(stage)


def _set(name: str) -> PublicSet:
    if name not in SETS:
        raise ConfigError(f"no public set {name!r}; {nearest(name, SETS)}")
    return SETS[name]


def _published_md5(source: str) -> str:
    """The checksum that stands beside an archive."""
    with _open(source) as answer:
        text = _read(answer, source, 4096).decode("ascii", errors="replace").lower()
    found = _MD5.findall(text)
    if len(found) != 1:
        raise DataError(f"expected one MD5 in {source}, got {text[:80]!r}")
    return str(found[0])


def _download(source: str, place: Path, on_bytes: OnBytes) -> str:
    """Store a file and hand back its MD5."""
    # For comparison with what its makers published; it protects against damage, not against forgery.
    digest = hashlib.md5(usedforsecurity=False)
    came = 0
    with _open(source) as answer, place.open("wb") as file:
        size = int(answer.headers.get("Content-Length") or 0)
        while chunk := _read(answer, source, _CHUNK):
            came += len(chunk)
            if came > _MOST_BYTES:
                raise DataError(f"expected at most {_MOST_BYTES:,} bytes from {source}, got more")
            digest.update(chunk)
            file.write(chunk)
            on_bytes(len(chunk), size)
    if size and came != size:
        raise DataError(
            f"expected {size:,} bytes from {source}, got {came:,}: the connection broke off; try again"
        )
    return digest.hexdigest()


@contextmanager
def _open(source: str) -> Iterator[_Answer]:
    """The answer to a request.

    Raises:
        DataError: the server cannot be reached, or has no such file.
    """
    request = urllib.request.Request(source, headers={"User-Agent": "fuserec"})
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        raise DataError(
            f"expected the file {source}, but the server answers {error.code} {error.reason}; "
            "look where its makers have it now, and pass that folder with --address"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(source, error) from error
    with answer:
        yield answer


def _read(answer: _Answer, source: str, size: int) -> bytes:
    try:
        return answer.read(size)
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(source, error) from error


def _unreachable(source: str, error: Exception) -> DataError:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    told = getattr(reason, "strerror", None) or str(reason) or type(error).__name__
    archive = source.removesuffix(".md5")
    return DataError(
        f"cannot reach {source} ({told}); try again with a connection, or fetch {archive} and {archive}.md5 on another "
        "machine, put both in a folder here, and pass --address file:///THAT/FOLDER"
    )
