from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.content.categories import CategoryVocabulary, category_features, encode_categories
from fuserec.content.encoder import Problem

NAMES = st.sampled_from(["Sea", "sea ", "Night", "Stone", "A > B", "A > C", "a", ">", ""])
LISTS = st.lists(st.lists(NAMES, max_size=4), max_size=8)


def test_rows_by_hand() -> None:
    found = category_features([["Sea", "Night"], ["Sea"], [], ["Sea", "Stone"]])
    rare = 1 + math.log(3)
    length = math.hypot(1, rare)
    assert found.vocabulary.names == ("sea", "night", "stone")
    assert (found.vocabulary.counts, found.vocabulary.items) == ((3, 1, 1), 3)
    expected = np.array([[1, rare, 0], [length, 0, 0], [0, 0, 0], [1, 0, rare]]) / length
    np.testing.assert_allclose(found.rows, expected, rtol=1e-6)
    assert found.rows.dtype == np.float32
    assert found.present.tolist() == [True, True, False, True]
    assert (found.problems, found.told) == ((), ())


def test_items_with_a_rare_category_in_common_are_more_alike_than_with_a_frequent_one() -> None:
    lists = [["common", "rare"], ["rare"], ["common"], ["common"], ["common"]]
    rows = category_features(lists).rows
    assert rows[0] @ rows[1] > rows[0] @ rows[2] > 0


def test_case_blanks_and_ways_to_write_an_accent_make_no_other_category() -> None:
    lists = [["Caf\u00e9  Bar"], [" cafe\u0301 bar "], ["CAF\u00c9\tBAR", "Caf\u00e9 bar"]]
    found = category_features(lists)
    assert found.vocabulary.names == ("caf\u00e9 bar",)
    assert found.vocabulary.counts == (3,)
    assert found.rows.tolist() == [[1], [1], [1]]


def test_a_category_counts_as_those_above_it_too() -> None:
    found = category_features([["Home > Kitchen > Pans"], ["home > Kitchen"], ["Home"], ["Ages>3"]])
    assert found.vocabulary.names == ("home", "home > kitchen", "ages>3", "home > kitchen > pans")
    assert found.vocabulary.counts == (3, 2, 1, 1)
    alike = found.rows @ found.rows[0]
    assert alike[0] > alike[1] > alike[2] > alike[3] == 0


def test_columns_go_by_count_and_then_by_name_whatever_the_order_of_the_items() -> None:
    lists = [["b"], ["a"], ["c", "b"], ["d"]]
    assert category_features(lists).vocabulary == category_features(lists[::-1]).vocabulary
    assert category_features(lists).vocabulary.names == ("b", "a", "c", "d")


def test_rare_categories_have_no_column_and_that_is_told() -> None:
    found = category_features([["b"], ["b", "a"], ["c"], ["a", "d", "c"]], most=2)
    assert found.vocabulary.names == ("a", "b")
    assert found.present.tolist() == [True, True, False, True]
    assert found.vocabulary.items == 4
    assert found.told == (
        "2 of 4 categories have no column, since the 2 commonest have one; the commonest without is 'c' with 2 items",
    )
    kind = "category without a column"
    assert found.problems == (
        Problem(position=2, kind=kind, message="no column for 'c', and it has no other category", lost=True),
        Problem(position=3, kind=kind, message="no column for 'd', 'c'", lost=False),
    )


def test_new_items_take_the_vocabulary_and_what_it_does_not_know_is_told() -> None:
    vocabulary = category_features([["Sea", "Night"], ["Sea"]]).vocabulary
    new = encode_categories([["SEA", "Night"], ["v", "w", "x", "y", "sea"], [], ["z"]], vocabulary)
    assert new.vocabulary == vocabulary
    assert new.present.tolist() == [True, True, False, False]
    np.testing.assert_array_equal(new.rows[0], category_features([["Sea", "Night"], ["Sea"]]).rows[0])
    assert [(one.position, one.message, one.lost) for one in new.problems] == [
        (1, "no column for 'v', 'w', 'x', ...", False),
        (3, "no column for 'z', and it has no other category", True),
    ]


def test_a_vocabulary_comes_back_from_json() -> None:
    vocabulary = category_features([["Sea", "Night"], ["Sea"]]).vocabulary
    kept = json.loads(json.dumps(asdict(vocabulary)))
    again = CategoryVocabulary(names=tuple(kept["names"]), counts=tuple(kept["counts"]), items=kept["items"])
    assert again == vocabulary


def test_no_item_and_no_category_give_no_column() -> None:
    assert category_features([]).rows.shape == (0, 0)
    found = category_features([[], ["", " > "]])
    assert found.rows.shape == (2, 0)
    assert found.present.tolist() == [False, False]
    assert (found.problems, found.told) == ((), ())


@settings(deadline=None)
@given(lists=LISTS, most=st.integers(1, 4))
def test_rows_have_length_one_where_present_and_zero_elsewhere(lists: list[list[str]], most: int) -> None:
    found = category_features(lists, most=most)
    np.testing.assert_allclose(np.linalg.norm(found.rows, axis=1), found.present, atol=1e-6)
    assert found.rows.shape[1] <= most
    lost = {one.position for one in found.problems if one.lost}
    nothing = {item for item, names in enumerate(lists) if not any(name.strip(" >") for name in names)}
    assert set(np.flatnonzero(~found.present)) == lost | nothing
    again = encode_categories(lists, found.vocabulary)
    np.testing.assert_array_equal(again.rows, found.rows)
    assert again.problems == found.problems
