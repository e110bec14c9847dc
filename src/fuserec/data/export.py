"""A dataset in the files of MMRec or RecBole.

MMRec (https://github.com/enoche/MMRec): ``NAME.inter`` with numbers and x_label, ``<modality>_feat.npy``, and the
original ids in two mapping files; `fuserec.data.mmrec` reads it back. RecBole (https://recbole.io/docs/user_guide/data/atomic_files.html):
atomic files, whose header names the type of each column; a split as NAME.train.inter, NAME.valid.inter and
NAME.test.inter, which its option ``benchmark_filename: [train, valid, test]`` takes. NAME is that of the folder,
as both ask for it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from fuserec.data.dataset import Dataset
from fuserec.data.mmrec import FEATURES_END, ITEM_IDS, LABELS, SPLIT, USER_IDS
from fuserec.data.report import count
from fuserec.data.schema import PARTS, check_name
from fuserec.data.write import write_npy
from fuserec.errors import ConfigError, nearest
from fuserec.files import new_folder, write_bytes

__all__ = ["FORMATS", "export_to"]

_CATEGORY_MARK = "|"
_PLAIN = ("user", "item", "time", "rating", "line")
_TOKENS = ("title", "category")


@dataclass(frozen=True, slots=True)
class _Job:
    """A dataset, its events in order, the part of each under the split asked for, and what was noticed."""

    dataset: Dataset
    events: pl.DataFrame
    parts: pl.Series | None
    notes: list[str]


def export_to(
    dataset: Dataset, out: Path, form: str, *, split: str | None = None, overwrite: bool = False
) -> list[str]:
    """Write a dataset as another library wants it.

    Args:
        dataset: an opened dataset.
        out: the folder to make; its name becomes that of the files.
        form: ``mmrec`` or ``recbole``.
        split: which split to write. MMRec needs one: None takes the only one there is. For RecBole None writes
            all events in one file.
        overwrite: replace an export of the same name and form that stands there.

    Returns:
        What the other format cannot hold, a sentence each.

    Raises:
        ConfigError: no such form or split, several splits and none named, or a folder name that cannot name files.
        DataError: ``out`` exists, or cannot be written.
    """
    if form not in FORMATS:
        raise ConfigError(f"no format {form!r}; {nearest(form, FORMATS)}")
    out = Path(out)
    name = check_name(out.resolve().name, "folder to export to")
    write, mark = FORMATS[form]
    if form == "mmrec" or split is not None:
        split = dataset.split_name(split)
    parts = None if split is None else dataset.parts(split)
    job = _Job(dataset, dataset.interactions(), parts, [])
    with new_folder(out, overwrite=overwrite, mark=mark.format(name=name)) as stage:
        write(stage, name, job)
    return [*job.notes, *_left_out(job, features=form == "mmrec")]


def _write_mmrec(folder: Path, name: str, job: _Job) -> None:
    assert job.parts is not None
    codes = {part: int(label) for label, part in LABELS.items()}
    columns = [job.events["user"].alias("userID"), job.events["item"].alias("itemID")]
    columns += _if_there(job.events, {"rating": "rating", "time": "timestamp"})
    columns.append(job.parts.replace_strict(codes, return_dtype=pl.Int8).alias(SPLIT))
    _write_table(folder / f"{name}.inter", pl.DataFrame(columns))
    dataset = job.dataset
    users = pl.DataFrame([dataset.user_ids.alias("user_id"), dataset.users["row"].alias("userID")])
    items = pl.DataFrame([dataset.item_ids.alias("item_id"), dataset.items["row"].alias("itemID")])
    _write_table(folder / USER_IDS, users)
    _write_table(folder / ITEM_IDS, items)
    if dataset.manifest.shuffle_seed is not None:
        job.notes.append(
            f"left out, since the format has no place for it: that the features are shuffled (seed {dataset.manifest.shuffle_seed})"
        )
    for modality, entry in dataset.manifest.modalities.items():
        if entry.features is None:
            continue
        # Our matrix is MMRec's already: a row for every item in order, zeros where there is none.
        matrix = dataset.feature_array(modality)
        write_npy(folder / f"{modality}{FEATURES_END}", [matrix], matrix.shape, matrix.dtype)
        absent = dataset.num_items - entry.features.present
        if absent:
            job.notes.append(
                f"{count(absent, 'item')} without {modality} features: a row of zeros in {modality}{FEATURES_END}"
            )


def _write_recbole(folder: Path, name: str, job: _Job) -> None:
    dataset = job.dataset
    columns = [
        dataset.user_ids.gather(job.events["user"]).alias("user_id:token"),
        dataset.item_ids.gather(job.events["item"]).alias("item_id:token"),
        *_if_there(job.events, {"rating": "rating:float", "time": "timestamp:float"}),
    ]
    log = pl.DataFrame(columns)
    if job.parts is None:
        _write_table(folder / f"{name}.inter", log)
    else:
        for part in PARTS:
            _write_table(folder / f"{name}.{part}.inter", log.filter(job.parts == part))
    items = [dataset.item_ids.alias("item_id:token")]
    if "title" in dataset.items.columns:
        items.append(_words(dataset.items["title"]).alias("title:token_seq"))
    if "category" in dataset.items.columns:
        items.append(_categories(dataset.items["category"]).alias("category:token_seq"))
    _write_table(folder / f"{name}.item", pl.DataFrame(items))


_Write = Callable[[Path, str, _Job], None]

FORMATS: Mapping[str, tuple[_Write, str]] = {
    "mmrec": (_write_mmrec, "{name}.inter"),
    "recbole": (_write_recbole, "{name}.item"),
}
"""What writes each form, and the file by which an export that may be overwritten is known."""


def _if_there(events: pl.DataFrame, names: Mapping[str, str]) -> list[pl.Series]:
    return [events[own].alias(name) for own, name in names.items() if own in events.columns]


def _words(column: pl.Series) -> pl.Series:
    """Text as a sequence of tokens: words with one blank between them."""
    return column.cast(pl.String).str.replace_all(r"\s+", " ").str.strip_chars()


def _categories(column: pl.Series) -> pl.Series:
    """Categories as a sequence of tokens: of each list, or between bars, one token with its blanks as underscores."""
    lists = column if isinstance(column.dtype, pl.List) else column.cast(pl.String).str.split(_CATEGORY_MARK)
    texts = lists.cast(pl.List(pl.String))
    return texts.list.eval(_words_joined(pl.element())).list.join(" ", ignore_nulls=True)


def _words_joined(text: pl.Expr) -> pl.Expr:
    return text.str.strip_chars().str.replace_all(r"\s+", "_")


def _left_out(job: _Job, *, features: bool) -> list[str]:
    """What stays behind in the dataset."""
    dataset = job.dataset
    modalities = dataset.manifest.modalities
    groups = {
        "features": [] if features else [name for name, entry in modalities.items() if entry.features],
        "neighbour graphs": [name for name, entry in modalities.items() if entry.graph],
        "columns of the events": [name for name in job.events.columns if name not in _PLAIN],
        "columns of the items": [
            name
            for name in dataset.items.columns
            if name not in ("row", "item_id") and (features or name not in _TOKENS)
        ],
    }
    return [
        f"left out, since the format has no place for them: {what} ({', '.join(names)})"
        for what, names in groups.items()
        if names
    ]


def _write_table(path: Path, frame: pl.DataFrame) -> None:
    buffer = io.BytesIO()
    frame.write_csv(buffer, separator="\t")
    write_bytes(path, buffer.getvalue())
