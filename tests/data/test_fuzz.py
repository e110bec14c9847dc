"""A thousand spoilt files, the same ones at every run: each builds and accounts for every line, or is refused in one line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pytest
import zstandard
from numpy.typing import NDArray

from fuserec.data.plan import Plan, Sources, plan_build
from fuserec.errors import FuserecError

MUTANTS = 1000
USERS, ITEMS = 6, 5

Spoil = Callable[[np.random.Generator, bytes], bytes]


def rows() -> list[tuple[str, str, int, float]]:
    """A small log, with a duplicate in it."""
    rng = np.random.default_rng(1)
    found = [
        (f"u{user}", str(item), 1_500_000_000 + 60 * int(rng.integers(1000)), float(rng.integers(1, 6)))
        for user in range(USERS)
        for item in rng.permutation(ITEMS)[:3]
    ]
    return [*found, found[0]]


def separated(separator: str, header: tuple[str, ...], *, quoting: bool = True) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow([*header, "note:token" if ":" in header[0] else "note"])
    for number, row in enumerate(rows()):
        writer.writerow([*row, 'said "no", twice\nand left' if quoting and number % 5 == 0 else "é 鯉"])
    return text.getvalue().encode()


def parquet() -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(rows(), schema=["user", "item", "time", "rating"], orient="row").write_parquet(buffer)
    return buffer.getvalue()


def array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.random.default_rng(2).normal(size=(ITEMS, 4)).astype(np.float32))
    return buffer.getvalue()


def graph(**more: NDArray[np.str_]) -> bytes:
    buffer = io.BytesIO()
    neighbours = (np.arange(ITEMS)[:, None] + [1, 2]) % ITEMS
    np.savez(
        buffer,
        allow_pickle=False,
        neighbours=neighbours,
        weights=np.ones((ITEMS, 2), dtype=np.float32),
        **more,
    )
    return buffer.getvalue()


HEADER = ("user", "item", "time", "rating")
CSV = separated(",", HEADER)
JSONL = b"".join(
    json.dumps({**dict(zip(HEADER, row, strict=True)), "tags": ["a", "b"]}).encode() + b"\n" for row in rows()
)
CATALOGUE = (
    b'item,title,genres\n0,"Owl, The (1990)",A|B\n1,Kite,A\n2,\xc3\x89t\xc3\xa9,\n3,"a ""b""",C\n4,Cup,A\n'
)
GOOD: dict[str, tuple[str, bytes]] = {
    "log.csv": ("events", CSV),
    "log.tsv": ("events", separated("\t", HEADER, quoting=False)),
    "log.jsonl": ("events", JSONL),
    "log.inter": (
        "events",
        separated("\t", ("user:token", "item:token", "time:float", "rating:float"), quoting=False),
    ),
    "log.parquet": ("events", parquet()),
    "log.csv.gz": ("events", gzip.compress(CSV, mtime=0)),
    "log.jsonl.zst": ("events", zstandard.compress(JSONL)),
    "items.csv": ("items", CATALOGUE),
    "text.npy": ("features", array()),
    "near.npz": ("graphs", graph()),
    "named.npz": ("graphs", graph(ids=np.array([str(item) for item in range(ITEMS)]))),
}


def flip(rng: np.random.Generator, data: bytes) -> bytes:
    """A few bytes become others."""
    spoilt = np.frombuffer(data, dtype=np.uint8).copy()
    places = rng.integers(len(spoilt), size=rng.integers(1, 5))
    spoilt[places] ^= rng.integers(1, 256, size=len(places), dtype=np.uint8)
    return spoilt.tobytes()


def digit(rng: np.random.Generator, data: bytes) -> bytes:
    """A few bytes become others that mean something."""
    spoilt = bytearray(data)
    for place in rng.integers(len(spoilt), size=rng.integers(1, 8)):
        spoilt[place] = rng.choice(list(b'0123456789-+.eE,;\t\n\r "{}[]:\\un'))
    return bytes(spoilt)


def cut(rng: np.random.Generator, data: bytes) -> bytes:
    """The end is missing."""
    return data[: rng.integers(len(data))]


def drop_line(rng: np.random.Generator, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    del lines[rng.integers(len(lines))]
    return b"".join(lines)


def repeat_line(rng: np.random.Generator, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    lines.insert(int(rng.integers(len(lines) + 1)), lines[rng.integers(len(lines))])
    return b"".join(lines)


def swap_lines(rng: np.random.Generator, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join(lines[place] for place in rng.permutation(len(lines)))


def insert(rng: np.random.Generator, data: bytes) -> bytes:
    """Something stands where nothing should."""
    odd = [
        b"\0",
        b'"',
        b"\xef\xbb\xbf",
        b"x" * 200_000,
        b"\r",
        b"\n\n",
        b"\xff\xfe",
        b"\\u0000",
        b"\\ud800",
        b'""',
    ]
    odd += [
        b"9" * 40,
        b"nan",
        b"inf",
        b"-1",
        b"1e400",
        b"null",
        b"{}",
        b"[]",
        b"\xe2\x80\xa8",
        b"'",
        b"\t",
        b"true",
    ]
    place = int(rng.integers(len(data) + 1))
    return data[:place] + odd[rng.integers(len(odd))] + data[place:]


def encode(rng: np.random.Generator, data: bytes) -> bytes:
    """Another encoding, or other ends of the lines."""
    text = data.decode("latin-1")
    kind = rng.integers(4)
    if kind == 0:
        return data.replace(b"\n", b"\r\n")
    if kind == 1:
        return data.replace(b"\n", b"\r")
    return text.encode("utf-16" if kind == 2 else "utf-8")


def repack(spoil: Spoil, pack: Callable[[bytes], bytes], unpack: Callable[[bytes], bytes]) -> Spoil:
    """The spoilt text in a whole packed file."""
    return lambda rng, data: pack(spoil(rng, unpack(data)))


SPOIL: tuple[Spoil, ...] = (flip, digit, cut, drop_line, repeat_line, swap_lines, insert, encode)
GZ = tuple(repack(spoil, gzip.compress, gzip.decompress) for spoil in SPOIL)
ZST = tuple(repack(spoil, zstandard.compress, zstandard.decompress) for spoil in SPOIL)


def mutant(number: int, folder: Path) -> tuple[Sources, str, bytes]:
    """The file of that number, what it is built with, its name and what is in it."""
    rng = np.random.default_rng([7, number])
    name = list(GOOD)[number % len(GOOD)]
    role, data = GOOD[name]
    ways = (*SPOIL, *(GZ if name.endswith(".gz") else ZST if name.endswith(".zst") else ()))
    for _ in range(1 + int(rng.random() < 0.2)):
        if data:
            # A mutation after one that broke the packing finds nothing to unpack; then the first one stands.
            try:
                data = ways[rng.integers(len(ways))](rng, data)
            except (OSError, EOFError, zlib.error, zstandard.ZstdError):
                break
    path = folder / name
    path.write_bytes(data)
    good = folder / "good.csv"
    good.write_bytes(CSV)
    catalogue = folder / "catalogue.csv"
    catalogue.write_bytes(CATALOGUE)
    if role == "events":
        return Sources(events=path, items=catalogue if rng.integers(2) else None), name, data
    if role == "items":
        return Sources(events=good, items=path), name, data
    attached = {"text": path}
    if role == "features":
        return Sources(events=good, items=catalogue, features=attached), name, data
    return Sources(events=good, items=catalogue, graphs=attached), name, data


def counted(name: str, data: bytes) -> int | None:
    """How many rows a text has, by Python's own readers; None where they have no say."""
    if name.endswith(".gz"):
        data = gzip.decompress(data)
    if name.endswith(".zst"):
        return None
    text = data.decode("utf-8-sig")
    if ".jsonl" in name:
        lines = [line for line in text.split("\n") if line.strip(" \t\r")]
        return sum(isinstance(json.loads(line), dict) for line in lines)
    separator = "," if ".csv" in name else "\t"
    # Quotes are plain characters where no field begins with one.
    quoted = text.startswith('"') or any(mark + '"' in text for mark in (separator, "\n"))
    csv.field_size_limit(1 << 24)
    kind: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    records = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, quoting=kind))
    return sum(bool(record) for record in records) - 1


def accounts_for_everything(plan: Plan, name: str, data: bytes) -> None:
    report = plan.manifest.report
    assert report.events_read == report.events_kept + report.events_rejected
    assert (report.events_kept, report.events_rejected) == (plan.interactions.height, plan.rejected.height)
    assert sum(
        finding.count for finding in report.findings if finding.kind in set(plan.rejected["reason"])
    ) == (report.events_rejected)
    lines = [*plan.interactions["line"], *plan.rejected["line"]]
    assert len(set(lines)) == len(lines) == report.events_read
    if name.startswith("log") and not name.endswith(".parquet"):
        expected = counted(name, data)
        assert expected is None or report.events_read == expected
    if name == "items.csv":
        assert plan.items.height == counted(name, data)


def refusal(sources: Sources) -> tuple[Plan | None, str]:
    """The plan, or what it was refused with; any other exception goes on."""
    try:
        return plan_build(sources), ""
    except FuserecError as error:
        return None, str(error)


def test_a_thousand_spoilt_files_build_with_every_row_told_or_are_refused_in_one_line(tmp_path: Path) -> None:
    outcomes = {"built": 0, "refused": 0}
    wrong = []
    for number in range(MUTANTS):
        sources, name, data = mutant(number, tmp_path)
        try:
            plan, told = refusal(sources)
            if plan is not None:
                accounts_for_everything(plan, name, data)
        except BaseException as error:  # a panic of polars is no Exception
            wrong.append(f"{number} {name}: {type(error).__name__}: {error}"[:300])
            continue
        if plan is None and (not told or "\n" in told):
            wrong.append(f"{number} {name}: {told!r}")
        outcomes["refused" if plan is None else "built"] += 1
    assert wrong == []
    # Neither outcome is rare, or the mutations would say little.
    assert min(outcomes.values()) > MUTANTS / 5, outcomes


@pytest.mark.parametrize("name", GOOD)
def test_the_files_are_good_before_they_are_spoilt(tmp_path: Path, name: str) -> None:
    role, data = GOOD[name]
    path = tmp_path / name
    path.write_bytes(data)
    good, catalogue = tmp_path / "good.csv", tmp_path / "catalogue.csv"
    good.write_bytes(CSV)
    catalogue.write_bytes(CATALOGUE)
    events = path if role == "events" else good
    items = path if role == "items" else catalogue
    attached = {role: {"text": path}} if role in ("features", "graphs") else {}
    plan = plan_build(Sources(events=events, items=items, **attached))
    report = plan.manifest.report
    assert (report.events_read, report.events_rejected) == (USERS * 3 + 1, 1)
    accounts_for_everything(plan, name, data)
