"""What the manifest of a dataset says: one model a part, and the options that shape a build.

The folder format is described in docs/reference/dataset.md. `FORMAT_VERSION` rises when a reader of the
version before could misread the folder; `OLDEST_READABLE` is the oldest version this code reads.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_serializer

from fuserec.errors import ConfigError, nearest

__all__ = [
    "DATASET_FORMAT",
    "FORMAT_VERSION",
    "OLDEST_READABLE",
    "PARTS",
    "BuildOptions",
    "Counts",
    "EncoderEntry",
    "FeatureEntry",
    "FileEntry",
    "Finding",
    "GraphEntry",
    "Manifest",
    "ModalityEntry",
    "Report",
    "SourceEntry",
    "SplitEntry",
    "check_name",
]

DATASET_FORMAT = "fuserec dataset"
FORMAT_VERSION = 1
OLDEST_READABLE = 1

PARTS = ("train", "valid", "test")
"""The parts of a split, in the order of their codes 0, 1, 2."""

IdType = Literal["string", "integer"]

SPLIT_KINDS = ("column", "leave-one-out", "user-time", "global-time", "cold-items", "random")
REPEATS = ("drop", "keep")
TIME_UNITS = ("auto", "s", "ms", "us", "ns")
COLUMN_ROLES = ("user", "item", "time", "rating", "type", "title", "category", "text", "image", "available")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_STEM = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def check_name(name: str, what: str) -> str:
    """``name`` if it can name a file of the dataset.

    Raises:
        ConfigError: it is not a letter followed by at most 63 letters, digits, ``_`` or ``-``.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"expected the name of a {what} to be a letter followed by letters, digits, '_' or '-' "
            f"(64 at most), got {name!r}"
        )
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How raw files become a dataset; kept whole in the manifest.

    Attributes:
        columns: the column that plays a role (user, item, time, rating, type, title, category, text, image, available);
            ``""`` says that none does. A role not named here is looked for under its common names.
        split_columns: event columns that hold train, valid or test; each becomes a split of its name.
        splits: the kinds of split to make (column, leave-one-out, user-time, global-time, cold-items, random);
            empty takes the columns where there are any, else leave-one-out.
        fractions: training, validation and test fraction: of a user's events (random, user-time), of all
            events (global-time), of the items with events (cold-items).
        min_rating: events rated lower are rejected.
        types: events of other types are rejected; empty takes all.
        k_core: fewest distinct items of a user and fewest distinct users of an item; those with fewer are dropped,
            again and again, before the splits are made. None drops nothing.
        repeats: ``drop`` keeps a user's first event with an item only, ``keep`` keeps all of them.
        time_unit: unit of numeric times (s, ms, us, ns); ``auto`` takes seconds unless they can only be another unit.
        strict: refuse to build where an event would be rejected or a unit guessed.
        seed: seed of the splits random and cold-items.
        synthetic: the data was made by a program; said wherever the dataset is shown.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    split_columns: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    min_rating: float | None = None
    types: tuple[str, ...] = ()
    k_core: tuple[int, int] | None = None
    repeats: str = "drop"
    time_unit: str = "auto"
    strict: bool = False
    seed: int = 0
    synthetic: bool = False

    def __post_init__(self) -> None:
        for role in self.columns:
            if role not in COLUMN_ROLES:
                raise ConfigError(f"no column role {role!r}; {nearest(role, (*COLUMN_ROLES, 'split'))}")
        for kind in self.splits:
            if kind not in SPLIT_KINDS:
                raise ConfigError(f"no split {kind!r}; {nearest(kind, SPLIT_KINDS)}")
        if self.split_columns and self.splits and "column" not in self.splits:
            raise ConfigError(
                f"split={self.split_columns[0]} names a column, but --split {self.splits[0]} asks for another "
                "split; pass --split column as well, or leave split= out"
            )
        if self.repeats not in REPEATS:
            raise ConfigError(f"expected repeats to be drop or keep, got {self.repeats!r}")
        if self.time_unit not in TIME_UNITS:
            raise ConfigError(f"no time unit {self.time_unit!r}; {nearest(self.time_unit, TIME_UNITS)}")
        self._check_numbers()

    def _check_numbers(self) -> None:
        train, valid, test = self.fractions
        if not (train > 0 and valid >= 0 and test >= 0 and math.isclose(train + valid + test, 1)):
            raise ConfigError(
                "expected the fractions of train, valid and test to be at least 0, train above 0, and their sum 1, "
                f"got {train}, {valid}, {test}"
            )
        if self.min_rating is not None and not math.isfinite(self.min_rating):
            raise ConfigError(f"expected min_rating to be a number, got {self.min_rating}")
        if self.k_core is not None and min(self.k_core) < 1:
            raise ConfigError(f"expected k_core of at least 1 item and 1 user, got {self.k_core}")
        if self.seed < 0:
            raise ConfigError(f"seed must be at least 0, got {self.seed}")


class _Entry(BaseModel):
    # What a later version adds is passed over; its `oldest_readable` says whether that is safe.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


def _without(value: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    """The value without those keys that say nothing.

    So a manifest that has no need of a later key, and with it the name of its dataset, stays what it was before.
    """
    return {key: each for key, each in value.items() if key not in keys or each not in (None, (), [])}


class Finding(_Entry):
    """Something a person should know about the raw files.

    Attributes:
        kind: a short name, for example ``"duplicate"``.
        count: how many rows or users it concerns.
        message: the whole sentence.
        where: file and line of the first few.
        rejected: the rows were left out of the dataset.
        refused_by_strict: ``--strict`` refuses to build because of it.
    """

    kind: str
    count: int
    message: str
    where: tuple[str, ...] = ()
    rejected: bool = False
    refused_by_strict: bool = False

    def line(self) -> str:
        """The message with its places."""
        if not self.where:
            return self.message
        more = ", ..." if self.count > len(self.where) else ""
        return f"{self.message} ({', '.join(self.where)}{more})"


class Report(_Entry):
    """What the build read, kept and noticed."""

    events_read: int
    events_kept: int
    events_rejected: int
    findings: tuple[Finding, ...]


class SourceEntry(_Entry):
    """A raw file: its name without folders, and its bytes' hash."""

    name: str
    bytes: int
    sha256: str


class FileEntry(_Entry):
    """A file of the dataset."""

    bytes: int
    sha256: str


class Counts(_Entry):
    """Size and shape of the interactions.

    Attributes:
        density: distinct user-item pairs over users times items.
        items_without_events: items of the catalogue that no event names.
        history_quantiles: events a user at the quantiles 0, 0.25, 0.5, 0.75, 0.9 and 1.
        popularity_quantiles: events an item at the same quantiles.
        first_time: seconds UTC of the earliest event; None without times.
        last_time: seconds UTC of the latest event; None without times.
    """

    users: int
    items: int
    interactions: int
    density: float
    items_without_events: int
    history_quantiles: dict[str, float]
    popularity_quantiles: dict[str, float]
    first_time: int | None
    last_time: int | None


class SplitEntry(_Entry):
    """One split.

    Attributes:
        train: number of training events; so for ``valid`` and ``test``.
        cold_valid: validation events whose item has no training event.
        cold_test: test events whose item has no training event.
        train_only_users: users without a validation and a test event.
        tied_users: users for whom a tie in time was broken by the order of the input; None where time
            plays no part.
        cold_users: users with held-out events and no training event; None where an older
            fuserec did not count them.
        cold_items: items with held-out events and no training event; None where an older
            fuserec did not count them.
        valid_from: seconds UTC at which validation begins for everyone; None where each user has a time of
            its own, or none.
        test_from: seconds UTC at which test begins for everyone.
        keeps: what the split keeps apart, a sentence.
        leaks: what it does not, a sentence each.
    """

    kind: str
    train: int
    valid: int
    test: int
    cold_valid: int
    cold_test: int
    train_only_users: int
    tied_users: int | None = None
    cold_users: int | None = None
    cold_items: int | None = None
    valid_from: int | None = None
    test_from: int | None = None
    keeps: str = ""
    leaks: tuple[str, ...] = ()


class EncoderEntry(_Entry):
    """How `fuserec features` made a feature matrix.

    Attributes:
        name: of the encoder, for people.
        options: all that decides its numbers.
        inputs: hash over the hashes of every item's input, in the order of the items.
        problems: how many inputs had each kind of problem.
        versions: of the packages that encoded last; they move the last bits.
    """

    name: str
    options: dict[str, Any]
    inputs: str
    problems: dict[str, int] = {}
    versions: dict[str, str] = {}


class FeatureEntry(_Entry):
    """A feature matrix: ``present`` items have a row that is not all zero.

    Attributes:
        stem: its files are ``features/<stem>.npy`` and so on; None where that is the name of the modality.
        encoder: how it was made; None where it came ready.
    """

    width: int
    dtype: Literal["float16", "float32"]
    present: int
    stem: str | None = None
    encoder: EncoderEntry | None = None

    @field_validator("stem")
    @classmethod
    def _in_its_folder(cls, stem: str | None) -> str | None:
        if stem is not None and not _STEM.fullmatch(stem):
            raise ValueError(f"expected the beginning of a file's name, got {stem!r}")
        return stem

    @model_serializer(mode="wrap")
    def _without_empty(self, handler: Callable[[Any], Any]) -> dict[str, Any]:
        return _without(handler(self), {"stem", "encoder"})


class GraphEntry(_Entry):
    """A neighbour graph: ``present`` items have at least one neighbour."""

    neighbours: int
    present: int


class ModalityEntry(_Entry):
    """What came with the data for one modality."""

    features: FeatureEntry | None = None
    graph: GraphEntry | None = None


class Manifest(_Entry):
    """manifest.json: all that is to be known of a dataset without reading it.

    ``parent`` is the hash of the dataset that this one was made of; what a build makes has none. ``shuffle_seed`` says
    that the content of the items was dealt anew among them, and by which seed; None where every item has its own.
    ``ancestors`` are the hashes that this dataset had, oldest first, before features were made in it.
    """

    format: str
    format_version: int
    oldest_readable: int
    writer: str
    synthetic: bool
    user_id_type: IdType
    item_id_type: IdType
    sources: dict[str, SourceEntry]
    columns: dict[str, dict[str, str]]
    options: BuildOptions
    counts: Counts
    splits: dict[str, SplitEntry]
    modalities: dict[str, ModalityEntry]
    report: Report
    files: dict[str, FileEntry]
    parent: str | None = None
    shuffle_seed: int | None = None
    ancestors: tuple[str, ...] = ()

    @field_validator("files")
    @classmethod
    def _in_the_folder(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        for name in files:
            if name.startswith("/") or {"", ".", ".."} & set(name.split("/")):
                raise ValueError(f"expected a file of the folder, got {name!r}")
        return files

    @field_validator("modalities")
    @classmethod
    def _are_names(cls, modalities: dict[str, ModalityEntry]) -> dict[str, ModalityEntry]:
        for name in modalities:
            if not _NAME.fullmatch(name):
                raise ValueError(f"expected the name of a modality, got {name!r}")
        return modalities

    @model_serializer(mode="wrap")
    def _without_empty(self, handler: Callable[[Any], Any]) -> dict[str, Any]:
        return _without(handler(self), {"parent", "shuffle_seed", "ancestors"})
