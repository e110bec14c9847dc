"""Whatever is wrong with a raw file: one clear line, and nothing is left on the disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.data.build import Sources, build
from fuserec.errors import DataError, FuserecError

EVENTS = "user,item,time\na,1,5\na,2,6\nb,1,7\n"
ITEMS = "item,title\n1,Ball\n2,Cup\n"

Spoil = Callable[[Path], dict[str, Path]]


def text(role: str, name: str, content: str | bytes) -> Spoil:
    def spoil(folder: Path) -> dict[str, Path]:
        path = folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return {role: path}

    return spoil


def array(role: str, values: object) -> Spoil:
    def spoil(folder: Path) -> dict[str, Path]:
        np.save(folder / "bad.npy", np.asarray(values))
        return {role: folder / "bad.npy"}

    return spoil


def graph(neighbours: object, weights: object) -> Spoil:
    def spoil(folder: Path) -> dict[str, Path]:
        np.savez(folder / "bad.npz", neighbours=np.asarray(neighbours), weights=np.asarray(weights))
        return {"graph": folder / "bad.npz"}

    return spoil


def broken_parquet(folder: Path) -> dict[str, Path]:
    path = folder / "bad.parquet"
    pl.DataFrame({"user": [1] * 999, "item": range(999)}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:300])
    return {"events": path}


def spoilt_parquet(folder: Path) -> dict[str, Path]:
    path = folder / "bad.parquet"
    pl.DataFrame({"user": [1] * 999, "item": range(999)}).write_parquet(path)
    content = bytearray(path.read_bytes())
    content[20:200] = b"\xff" * 180
    path.write_bytes(bytes(content))
    return {"events": path}


def parquet_with_our_column(folder: Path) -> dict[str, Path]:
    path = folder / "bad.parquet"
    pl.DataFrame({"user": [1], "item": [1], "\0row": [1]}).write_parquet(path)
    return {"events": path}


def folder_in_place(folder: Path) -> dict[str, Path]:
    (folder / "bad.csv").mkdir()
    return {"events": folder / "bad.csv"}


BAD: dict[str, tuple[Spoil, str]] = {
    "empty events": (text("events", "bad.csv", ""), "but .*bad.csv is empty"),
    "empty items": (text("items", "bad.tsv", ""), "but .*bad.tsv is empty"),
    "empty Parquet": (text("events", "bad.parquet", ""), "but .*bad.parquet is empty"),
    "empty features": (text("features", "bad.npy", ""), "but .*bad.npy is empty"),
    "wrong separator": (
        text("events", "bad.csv", EVENTS.replace(",", ";")),
        "found one column 'user;item;time'; is the separator ';'",
    ),
    "missing column": (
        text("events", "bad.csv", "user,product,time\na,1,5\n"),
        "expected the item column in .*bad.csv, found the columns 'user', 'product', 'time'",
    ),
    "binary junk": (text("events", "bad.csv", bytes(range(256)) * 9), "expected text, but .*bad.csv:1 holds"),
    "text in another encoding": (
        text("items", "bad.csv", b"item,title\n1,caf\xe9\n"),
        "bad.csv:2 holds the byte 0xe9",
    ),
    "ragged rows": (
        text("events", "bad.csv", EVENTS + "b\n"),
        "expected 3 fields on every line, but .*bad.csv:5 has 1",
    ),
    "broken Parquet": (broken_parquet, "expected a Parquet file, but .*bad.parquet cannot be read"),
    "Parquet with a NUL in a name": (
        parquet_with_our_column,
        r"expected names of columns without a NUL in .*bad.parquet, got '\\x00row'; rename it",
    ),
    "spoilt Parquet": (spoilt_parquet, "expected a Parquet file, but .*bad.parquet"),
    "CSV named Parquet": (
        text("events", "bad.parquet", EVENTS),
        "expected a Parquet file, but .*bad.parquet cannot",
    ),
    "another format": (
        text("events", "bad.xlsx", "PK"),
        "expected a file that ends in .csv, .tsv, .*, got .*bad.xlsx",
    ),
    "an empty folder": (folder_in_place, "expected at least one file in .*bad.csv, found none"),
    "no file": (
        lambda folder: {"events": folder / "no.csv"},
        "expected the file .*no.csv, but it does not exist",
    ),
    "a file in place of a folder": (
        lambda folder: {"events": folder / "items.csv" / "e.csv"},
        "cannot read .*e.csv: Not a directory",
    ),
    "duplicated items": (
        text("items", "bad.csv", ITEMS + "1,Bat\n"),
        r"more than once: 1 \(bad.csv:2, bad.csv:4\)",
    ),
    "items of another shop": (
        text("items", "bad.csv", "item\n8\n9\n"),
        "no event of .*events.csv is left: 3 events",
    ),
    "an unknown part": (
        text("events", "bad.csv", "user,item,split\na,1,train\na,2,holdout\n"),
        r"split column 'split', got 'holdout' in .*bad.csv \(bad.csv:3; 1 such events\)",
    ),
    "features with NaN": (
        array("features", [[1.0], [np.nan]]),
        r"1 rows hold NaN or infinity: row 1 \(item 2\)",
    ),
    "features with too few rows": (array("features", [[1.0]]), "expected 2 rows in .*, got 1"),
    "features without width": (array("features", np.ones((2, 0))), "expected at least one feature an item"),
    "features that are a vector": (array("features", [1.0, 2.0]), r"expected a matrix \(items, width\)"),
    "features that are junk": (
        text("features", "bad.npy", b"\x93NUMPY junk"),
        "expected an array in .*bad.npy",
    ),
    "features that are text": (text("features", "bad.npz", "hello"), "expected named arrays in .*bad.npz"),
    "a graph out of range": (graph([[1], [2]], [[1.0], [1.0]]), "expected neighbours from 0 to 1, or -1"),
    "a graph with NaN": (graph([[1], [0]], [[1.0], [np.nan]]), "expected finite 'weights'"),
    "a graph that is cut short": (
        text("graph", "bad.npz", b"PK\x03\x04junk"),
        "expected named arrays in .*bad.npz",
    ),
}


@pytest.mark.parametrize(("spoil", "told"), BAD.values(), ids=BAD)
def test_a_bad_input_gives_one_line_and_leaves_nothing(spoil: Spoil, told: str, tmp_path: Path) -> None:
    files = {"events": tmp_path / "events.csv", "items": tmp_path / "items.csv"}
    files["events"].write_text(EVENTS)
    files["items"].write_text(ITEMS)
    files |= spoil(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    sources = Sources(
        events=files["events"],
        items=files["items"],
        features={"image": files["features"]} if "features" in files else {},
        graphs={"image": files["graph"]} if "graph" in files else {},
    )
    with pytest.raises(DataError, match=told) as caught:
        build(tmp_path / "out" / "data", sources)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "events.csv")
    with pytest.raises(
        DataError, match=r"^expected a file, but .*events\.csv is a pipe or a device; write its"
    ):
        build(tmp_path / "data", Sources(events=tmp_path / "events.csv"))


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["csv", "parquet"]),
    place=st.integers(0, 10_000),
    content=st.binary(min_size=1, max_size=8),
    cut=st.integers(0, 200),
)
def test_a_damaged_log_builds_or_is_refused_but_never_half_built(
    tmp_path_factory: pytest.TempPathFactory, kind: str, place: int, content: bytes, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / f"events.{kind}"
    if kind == "csv":
        path.write_text(EVENTS)
    else:
        pl.DataFrame({"user": ["a", "a", "b"], "item": [1, 2, 1], "time": [5, 6, 7]}).write_parquet(path)
    whole = bytearray(path.read_bytes())
    place %= len(whole)
    whole[place : place + len(content)] = content
    path.write_bytes(bytes(whole[: len(whole) - cut] if cut % 4 == 0 else whole))
    try:
        dataset = build(folder / "data", Sources(events=path))
    except FuserecError:
        assert [entry.name for entry in folder.iterdir()] == [path.name]
    else:
        assert dataset.interactions().height == dataset.manifest.counts.interactions
