"""Public data sets: where they are, how their bytes are known, and on which terms they may be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fuserec.data.movielens import write_tables

__all__ = ["ADDRESS", "SETS", "PublicSet"]

ADDRESS = "https://files.grouplens.org/datasets/movielens"
"""The folder on the web from which the sets come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicSet:
    """A data set that its makers publish as a zip file.

    Attributes:
        archive: name of the zip file; a file of the same name with ``.md5`` behind it stands beside it.
        md5: its hexadecimal MD5, where the makers never change it; None where only the file beside it tells.
        terms: what the makers ask for, in short.
        licence: name of the file beside it that says so in full.
        files: what the archive must hold.
        finish: what remains to be done in the folder so that `fuserec data build` reads it.
    """

    archive: str
    md5: str | None
    terms: tuple[str, ...]
    licence: str
    files: tuple[str, ...]
    finish: Callable[[Path], None] | None = None


_CITE = "say that you used it in what you publish, and cite Harper and Konstan, The MovieLens Datasets (ACM TiiS 5, 2015)"
_NO_ENDORSEMENT = "do not say or suggest that the University of Minnesota or GroupLens endorses your work"
_NO_WARRANTY = "it comes as it is, without any warranty"

SETS: Mapping[str, PublicSet] = {
    "movielens-1m": PublicSet(
        archive="ml-1m.zip",
        md5="c4d9eecfca2ab87c1945afe126590906",
        terms=(
            "for research; ask GroupLens before any commercial use",
            "do not pass the data on without a separate permission",
            _CITE,
            _NO_ENDORSEMENT,
            _NO_WARRANTY,
        ),
        licence="ml-1m-README.txt",
        files=("ratings.dat", "movies.dat", "users.dat"),
        finish=write_tables,
    ),
    "movielens-latest-small": PublicSet(
        archive="ml-latest-small.zip",
        md5=None,
        terms=(
            "for research; ask GroupLens before any commercial use",
            "pass the data on, changed or not, only under these same terms",
            _CITE,
            _NO_ENDORSEMENT,
            _NO_WARRANTY,
        ),
        licence="ml-latest-small-README.html",
        files=("ratings.csv", "movies.csv"),
    ),
}
