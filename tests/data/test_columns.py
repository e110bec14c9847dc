from __future__ import annotations

from pathlib import Path

import pytest

from fuserec.data.columns import event_columns, item_columns, parse_columns
from fuserec.data.schema import BuildOptions
from fuserec.errors import ConfigError, DataError

EVENTS, ITEMS = Path("events.csv"), Path("items.csv")


@pytest.mark.parametrize(
    ("names", "user", "item", "time", "rating"),
    [
        (["user", "item"], "user", "item", None, None),
        (["user_id", "item_id", "timestamp"], "user_id", "item_id", "timestamp", None),
        (["userId", "movieId", "rating", "timestamp"], "userId", "movieId", "timestamp", "rating"),
        (
            ["reviewerID", "asin", "overall", "unixReviewTime"],
            "reviewerID",
            "asin",
            "unixReviewTime",
            "overall",
        ),
    ],
)
def test_common_names_are_found(
    names: list[str], user: str, item: str, time: str | None, rating: str | None
) -> None:
    found = event_columns(EVENTS, names, BuildOptions())
    assert (found.user, found.item, found.time, found.rating) == (user, item, time, rating)


def test_a_role_that_is_told_wins_over_common_names() -> None:
    options = BuildOptions(columns={"user": "who", "time": ""})
    found = event_columns(EVENTS, ["user", "who", "item", "time"], options)
    assert (found.user, found.time) == ("who", None)


def test_several_candidates_are_refused() -> None:
    with pytest.raises(
        DataError,
        match=r"expected one item column in events.csv, but it could be 'item_id', 'asin'; say which",
    ):
        event_columns(EVENTS, ["user", "asin", "item_id"], BuildOptions())


def test_a_missing_column_is_refused_with_the_columns_there_are() -> None:
    with pytest.raises(
        DataError,
        match=r"expected the user column in events.csv, found the columns 'who', 'item'; say which with --columns user=",
    ):
        event_columns(EVENTS, ["who", "item"], BuildOptions())


def test_a_column_that_is_told_but_missing_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        DataError,
        match=r"expected the column 'user_idd' \(user=\) in events.csv, found .*; did you mean 'user_id'\?",
    ):
        event_columns(EVENTS, ["user_id", "item"], BuildOptions(columns={"user": "user_idd"}))


@pytest.mark.parametrize(
    ("name", "column", "mark"),
    [
        ("events.csv", "user;item;time", "';'"),
        ("events.csv", "user\titem", "a tab"),
        ("events.tsv", "user,item", "','"),
        ("events.csv", "user::item", "'::'"),
    ],
)
def test_a_wrong_separator_is_recognised(name: str, column: str, mark: str) -> None:
    with pytest.raises(DataError) as caught:
        event_columns(Path(name), [column], BuildOptions())
    assert f"found one column {column!r}; is the separator {mark}?" in str(caught.value)


def test_one_column_without_a_separator_is_named() -> None:
    with pytest.raises(DataError, match=r"expected the user column in events.csv, found one column 'x'$"):
        event_columns(EVENTS, ["x"], BuildOptions())


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"user": "item"}, "'item' is user and item; say which with --columns item="),
        ({"time": "user"}, "'user' is user and time; say which with --columns time="),
    ],
)
def test_a_column_in_two_roles_is_refused(columns: dict[str, str], told: str) -> None:
    with pytest.raises(DataError, match=f"expected a column for each role in events.csv, but {told}"):
        event_columns(EVENTS, ["user", "item"], BuildOptions(columns=columns))


def test_a_split_column_in_another_role_is_refused() -> None:
    with pytest.raises(DataError, match="'item' is item and split"):
        event_columns(EVENTS, ["user", "item"], BuildOptions(split_columns=("item",)))


def test_a_table_without_columns_is_told() -> None:
    with pytest.raises(DataError, match=r"^expected the user column in events\.csv, found no columns$"):
        event_columns(EVENTS, [], BuildOptions())


def test_split_columns_are_those_told_or_the_one_called_split() -> None:
    names = ["user", "item", "split", "fold"]
    told = BuildOptions(split_columns=("fold", "split"))
    assert event_columns(EVENTS, names, told).splits == ("fold", "split")
    assert event_columns(EVENTS, names, BuildOptions()).splits == ("split",)
    assert event_columns(EVENTS, names, BuildOptions(splits=("random",))).splits == ()
    with pytest.raises(DataError, match=r"expected the split column in events.csv"):
        event_columns(EVENTS, ["user", "item"], BuildOptions(splits=("column",)))


def test_items_may_call_their_id_otherwise_than_the_events() -> None:
    options = BuildOptions(columns={"item": "bought"})
    assert item_columns(ITEMS, ["id", "name", "genres"], options).roles() == {
        "item": "id",
        "title": "name",
        "category": "genres",
    }


def test_content_takes_the_first_of_its_common_names() -> None:
    names = ["item_id", "name", "title", "abstract", "text"]
    assert dict(item_columns(ITEMS, names, BuildOptions()).content) == {"title": "title", "text": "text"}


def test_content_can_be_told_or_switched_off() -> None:
    options = BuildOptions(columns={"title": "label", "text": ""})
    assert dict(item_columns(ITEMS, ["item", "label", "text"], options).content) == {"title": "label"}


def test_roles_are_parsed_in_order() -> None:
    assert parse_columns("user=u, item=i,split=a,split=b") == ({"user": "u", "item": "i"}, ("a", "b"))
    assert parse_columns("") == ({}, ())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("user", r"expected --columns ROLE=COLUMN,ROLE=COLUMN, got 'user'"),
        ("usr=u", r"no column role 'usr'; did you mean 'user'\?"),
        ("user=a,user=b", "expected every role once in --columns, but user= is given twice"),
        ("split=a,split=a", "but split= is given twice"),
    ],
)
def test_other_ways_of_writing_columns_are_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_columns(text)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"columns": {"usr": "u"}}, r"no column role 'usr'; did you mean 'user'\?"),
        ({"splits": ("leave_one_out",)}, r"no split 'leave_one_out'; did you mean 'leave-one-out'\?"),
        ({"split_columns": ("a",), "splits": ("random",)}, "split=a names a column, but --split random"),
        ({"repeats": "maybe"}, "expected repeats to be drop or keep, got 'maybe'"),
        ({"time_unit": "msec"}, "no time unit 'msec'"),
        ({"fractions": (0.5, 0.1, 0.1)}, "their sum 1, got 0.5, 0.1, 0.1"),
        ({"fractions": (0.0, 0.5, 0.5)}, "train above 0"),
        ({"min_rating": float("nan")}, "expected min_rating to be a number, got nan"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        BuildOptions(**options)  # type: ignore[arg-type]
