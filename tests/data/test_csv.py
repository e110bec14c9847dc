from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.data.sources import csv as csv_source
from fuserec.data.sources.formats import read_table
from fuserec.data.sources.table import Table
from fuserec.errors import DataError

# The shape hook (beartype) looks at a random entry of each list it checks, which hypothesis warns about.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


def read(content: str | bytes, name: str = "events.csv") -> Table:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_table(path)


def test_every_value_is_read_as_the_text_it_is() -> None:
    table = read("user,item\n007,9999999999999999999999\n1e3,1.0\n true , nan\n")
    assert table.frame.rows() == [("007", "9999999999999999999999"), ("1e3", "1.0"), (" true ", " nan")]


def test_an_empty_field_is_missing() -> None:
    assert read('user,item\n,2\n"",3\n').frame["user"].to_list() == [None, ""]


def test_rows_know_the_line_on_which_they_begin() -> None:
    table = read('user,text\n1,"two\nlines"\n2,plain\n\n3,"three\n\nlines"\n4,end')
    assert table.numbers.tolist() == [2, 4, 6, 9]
    assert table.frame["user"].to_list() == ["1", "2", "3", "4"]
    assert table.where(2) == "events.csv:6"


def test_blank_lines_are_no_rows_and_are_counted() -> None:
    table = read("user,item\n\n1,2\n\n\n3,4\n\n")
    assert table.frame.rows() == [("1", "2"), ("3", "4")]
    assert table.blank_lines == 4


def test_windows_line_ends_and_a_byte_order_mark_are_read() -> None:
    table = read(b'\xef\xbb\xbf"user",item\r\n1,2\r\n\r\n3,"4\r\n5"\r\n')
    assert table.frame.columns == ["user", "item"]
    assert table.frame.rows() == [("1", "2"), ("3", "4\r\n5")]
    assert table.numbers.tolist() == [2, 4]


def test_a_tsv_file_takes_tabs() -> None:
    assert read("user\titem\n1\ta,b\n", "events.tsv").frame.rows() == [("1", "a,b")]


def test_quotes_are_plain_characters_where_no_field_begins_with_one() -> None:
    table = read('item\ttitle\n1\tMonitor 24"\n2\tTube 5" x 3"\n', "items.tsv")
    assert table.frame["title"].to_list() == ['Monitor 24"', 'Tube 5" x 3"']


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a,b\n1,2\n3\n", r"expected 2 fields on every line, but .*events.csv:3 has 1 \(1 such lines\)"),
        (
            "a,b\n1,2,3\n4,5,6\n",
            r"expected 2 fields on every line, but .*events.csv:2 has 3 \(2 such lines\)",
        ),
        ('a,b\n"x\ny",2\n3\n', r"events.csv:4 has 1"),
        ('a,b\n1,"2\n3,4\n', "expected every quote in .* to be closed"),
        ('a,b\n"1",2\n3,x"y\n', "quote only around a whole field, but .*events.csv:3 has one inside"),
        ('a,b\n"1" ,2\n', "quote only around a whole field, but .*events.csv:2 has one inside"),
        (b"a,b\n1,\x00\n", "expected text, but .*events.csv:2 holds a NUL byte"),
        ("a,b\n1,2\n".encode("utf-16"), "holds the byte 0xff|holds a NUL byte"),
        (b"a,b\n1,2\n3,caf\xe9\n", "expected UTF-8 text, but .*events.csv:3 holds the byte 0xe9"),
        (b"a,b\n1,2\n3,\xc3", "expected UTF-8 text, but .*events.csv:3 holds the byte 0xc3"),
        (b"\x1f\x8b\x08\x00junk", "NUL byte|0x8b"),
        ("a,a\n1,2\n", "expected every column of .* once, but 'a' is named twice"),
        ("\na,b\n1,2\n", "expected the first line of .* to name the columns, but it is blank"),
        (b"\xef\xbb\xbf", "expected the first line of .* to name the columns, but it is blank"),
        ("a,b\r1,2\r3,4\r", "events.csv:1 holds a lone carriage return"),
        ("", "expected a table or an array, but .* is empty"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(content: str | bytes, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        read(content)
    assert "\n" not in str(caught.value)


fields = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=6)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.tuples(fields, fields, fields), max_size=8),
    chunk=st.integers(1, 40),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_pythons_csv_writer_writes_is_read_back_whatever_the_size_of_a_chunk(
    rows: list[tuple[str, str, str]], chunk: int, quoting: int, line_end: str
) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=quoting, lineterminator=line_end)  # type: ignore[arg-type]
    writer.writerow(["a", "b", "c"])
    lines = []
    for row in rows:
        lines.append(buffer.getvalue().count("\n") + 1)
        writer.writerow(row)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_source, "_CHUNK", chunk)
        table = read(buffer.getvalue())
    assert [tuple(value or "" for value in row) for row in table.frame.iter_rows()] == rows
    assert table.numbers.tolist() == lines


@settings(max_examples=200, deadline=None)
@given(content=st.binary(min_size=1, max_size=60), chunk=st.integers(1, 20))
def test_any_bytes_are_a_table_or_a_data_error(content: bytes, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_source, "_CHUNK", chunk)
        try:
            table = read(b"a,b\n" + content)
        except DataError:
            return
    assert len(table.numbers) == table.frame.height
    assert table.frame.columns == ["a", "b"]


@settings(max_examples=200, deadline=None)
@given(content=st.text(alphabet='ab,"\n\r é', max_size=40), chunk=st.integers(1, 20))
def test_chunks_change_nothing(content: str, chunk: int) -> None:
    def outcome(size: int) -> object:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(csv_source, "_CHUNK", size)
            try:
                table = read("a,b\n" + content)
            except DataError:
                return "refused"
        return table.frame.rows(), table.numbers.tolist(), table.blank_lines

    assert outcome(chunk) == outcome(1 << 24)
