from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from fuserec.data.sources import compressed
from fuserec.data.sources.formats import read_table
from fuserec.errors import DataError

WriteFile = Callable[[str, str | bytes], Path]
Pack = Callable[[bytes], bytes]

LOG = b"user,item\n1,x\n\n2,y\n3,z\n"
PACKERS: dict[str, Pack] = {".gz": gzip.compress, ".zst": zstandard.compress}


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.csv", LOG),
        ("log.tsv", LOG.replace(b",", b"\t")),
        ("log.jsonl", b'{"user": 1, "item": "x"}\n\n{"user": 2, "item": "y"}\n'),
        ("log.inter", b"user:token\titem:token\n1\tx\n"),
    ],
)
def test_a_packed_text_reads_as_the_plain_one(
    write: WriteFile, name: str, content: bytes, suffix: str
) -> None:
    plain = read_table(write(name, content))
    packed = read_table(write(name + suffix, PACKERS[suffix](content)))
    assert packed.frame.equals(plain.frame)
    assert packed.numbers.tolist() == plain.numbers.tolist()
    assert packed.blank_lines == plain.blank_lines
    assert packed.where(0) == plain.where(0).replace(name, name + suffix)


@pytest.mark.parametrize("suffix", PACKERS)
def test_several_packed_pieces_one_after_the_other_are_one_text(write: WriteFile, suffix: str) -> None:
    pack = PACKERS[suffix]
    table = read_table(write("log.csv" + suffix, pack(LOG) + pack(b"4,w\n")))
    assert table.frame["user"].to_list() == ["1", "2", "3", "4"]


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_the_size_of_a_chunk_changes_nothing(
    write: WriteFile, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(compressed, "_CHUNK", chunk)
    for suffix, pack in PACKERS.items():
        table = read_table(write("log.csv" + suffix, pack(LOG) + pack(b"4,w\n")))
        assert table.frame.height == 4


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_file_cut_short_anywhere_is_refused(write: WriteFile, suffix: str) -> None:
    whole = PACKERS[suffix](LOG)
    for length in range(1, len(whole)):
        with pytest.raises(DataError, match="broken or cut short") as caught:
            read_table(write("log.csv" + suffix, whole[:length]))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_plain_file_under_a_packed_name_is_refused(write: WriteFile, suffix: str) -> None:
    with pytest.raises(DataError, match=r"expected a whole (gzip|zstd) file, but .*log\.csv"):
        read_table(write("log.csv" + suffix, LOG))


def test_parquet_packs_itself(write: WriteFile) -> None:
    with pytest.raises(DataError, match=r"expected a file that ends in .*\.csv.*\.gz or \.zst behind it"):
        read_table(write("log.parquet.gz", gzip.compress(b"PAR1")))
