from __future__ import annotations

import json
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.data.plan import Sources, plan_build
from fuserec.data.sources.formats import read_table
from fuserec.data.sources.table import Table
from fuserec.errors import DataError

# The shape hook (beartype) looks at a random entry of each list it checks, which hypothesis warns about.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


def read(content: str | bytes, name: str = "log.jsonl") -> Table:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_table(path)


@pytest.mark.parametrize("name", ["log.jsonl", "log.ndjson"])
def test_values_keep_their_types_and_rows_their_lines(name: str) -> None:
    table = read('\n{"user": 7, "item": "007"}\r\n \n{"item": "x", "rating": 4.5}', name)
    assert table.frame.rows() == [(7, "007", None), (None, "x", 4.5)]
    assert table.numbers.tolist() == [2, 4]
    assert table.blank_lines == 2
    assert table.where(1) == f"{name}:4"


def test_ids_that_are_text_stay_text_even_if_they_look_like_integers() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        path.write_text('{"user": "1", "item": 5}\n{"user": "2", "item": 6}\n', encoding="utf-8")
        plan = plan_build(Sources(events=path))
    assert plan.users["user_id"].to_list() == ["1", "2"]
    assert plan.items["item_id"].to_list() == [5, 6]


def test_what_is_nested_becomes_text_and_lists_stay() -> None:
    frame = read('{"a": {"b": {}}, "c": ["x", "y"]}\n{"a": {"d": [1]}, "c": []}\n').frame
    assert [json.loads(text) for text in frame["a"]] == [{"b": {}}, {"d": [1]}]
    assert frame["c"].to_list() == [["x", "y"], []]


def test_a_byte_order_mark_is_passed_over() -> None:
    assert read(b'\xef\xbb\xbf{"user": 1}\n').frame.rows() == [(1,)]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"a": 1}\n[1]\n', "expected a JSON object on every line, but .*log.jsonl:2 holds"),
        ('{"a": 1}{"a": 2}\n', "expected a JSON object on every line"),
        ('[\n{"a": 1},\n{"a": 2}\n]\n', "expected a JSON object on every line"),
        ('{"a": 1}\n{"a": \n', "expected a JSON object on every line"),
        ('{"a": true}\n{"a": 1}\n', "its values of the same types"),
        ("\n \n", "expected a JSON object on every line of .*, but it is blank"),
        (b'{"a": "\xff"}\n', "expected UTF-8 text, but .*log.jsonl:1 holds the byte 0xff"),
        ('{"a": 1}\n{"a": "\\u0000"}\n', r"log.jsonl:2 holds the escape \\u0000, which names none"),
        ('{"a": "\\ud83d"}\n', r"holds the escape \\ud83d"),
        ('{"a": "x\\ude00"}\n', r"holds the escape \\ude00"),
        ('{"a": ' + "[" * 5000 + "]" * 5000 + "}\n", "at most 256 levels, but .*log.jsonl:1 opens more"),
        (
            '{"a": [[1]]}\n' * 100_000 + '{"a": ' + "[" * 256 + "]" * 256 + "}\n",
            "log.jsonl:100001 opens more",
        ),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(content: str | bytes, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        read(content)
    assert "\n" not in str(caught.value)


def test_pairs_of_escapes_and_escaped_backslashes_are_characters() -> None:
    assert read('{"a": "\\ud83d\\ude00"}\n{"a": "\\\\ud83d"}\n').frame["a"].to_list() == ["😀", "\\ud83d"]


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.tuples(texts, st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=6),
    ascii_only=st.booleans(),
)
def test_what_pythons_json_writes_is_read_back(rows: list[tuple[str, int]], ascii_only: bool) -> None:
    lines = [json.dumps({"a": text, "b": number}, ensure_ascii=ascii_only) for text, number in rows]
    assert read("\n".join(lines)).frame.rows() == rows


def test_atomic_files_have_the_types_that_they_declare() -> None:
    table = read(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\tgenre:token_seq\tv:float_seq\n"
        "1\t07\t4.5\t100\tAction Drama\t0.5 1\n2\t08\t\t200\t\t\n",
        "log.inter",
    )
    assert table.frame.rows() == [
        ("1", "07", 4.5, 100, "Action Drama", [0.5, 1.0]),
        ("2", "08", None, 200, None, None),
    ]
    assert table.frame.schema["timestamp"] == pl.Int64
    assert table.where(1) == "log.inter:3"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("user\titem:token\n", "expected NAME:TYPE for every column of .*log.inter, got 'user'"),
        ("user:tokens\n", r"no type 'tokens' of column 'user' in .*; did you mean 'token'\?"),
        ("a:token\ta:float\n", "once, but 'a' is named twice"),
        ("a:token\tb:float\nx\t1\ny\tz\n", "numbers in the column 'b:float', but log.inter:3 has 'z'"),
        (
            "a:token\tb:float_seq\nx\t1 2\ny\t1 z\n",
            "numbers in the column 'b:float_seq', but log.inter:3 has '1 z'",
        ),
    ],
)
def test_an_atomic_file_that_contradicts_its_header_is_refused(content: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read(content, "log.inter")


@settings(max_examples=200, deadline=None)
@given(content=st.text(alphabet='{}[]",: 1ea.-\\u0d8\n\r', min_size=1, max_size=40))
def test_any_text_is_a_table_or_a_data_error(content: str) -> None:
    try:
        table = read('{"a": 1}\n' + content)
    except DataError as error:
        told = str(error)
    else:
        told = "read"
        assert (
            table.frame.height
            == len(table.numbers)
            == sum(bool(line.strip()) for line in content.split("\n")) + 1
        )
    assert "\n" not in told


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ('{"user": 2', r"log\.jsonl:3 is none \(column 11: "),
        ('{"user": NaN}', r"log\.jsonl:3 is none \(JSON knows no NaN; write null\)"),
        ("[2]", r"log\.jsonl:3 holds another value"),
    ],
)
def test_the_line_that_is_no_object_is_told(bad: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read(f'{{"user": 1}}\n\n{bad}\n{{"user": 3}}\n')
