from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.content.numbers import (
    MOST_KNOTS,
    NumberScale,
    encode_numbers,
    number_features,
    parse_numbers,
)
from fuserec.errors import ConfigError

NUMBERS = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=30)


def parsed(*column: object) -> list[float | None]:
    return [None if math.isnan(value) else value for value in parse_numbers(column).values.tolist()]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12.90", 12.9),
        (" 12 ", 12),
        ("$1,299.00", 1299),
        ("1.299,00 EUR", 1299),
        ("12,90 \u20ac", 12.9),
        ("12 kg", 12),
        ("-5", -5),
        ("\u22125.5", -5.5),
        ("+5", 5),
        ("-$5", -5),
        ("$ -5", -5),
        (".5", 0.5),
        ("1e3", 1000),
        ("1 299 000", 1_299_000),
        ("1'299.50", 1299.5),
        ("1\u202f299,5 \u20ac", 1299.5),
        ("1.299.000", 1_299_000),
        ("Fr. 12.50", 12.5),
        ("40 %", 40),
        ("0,125 kg", 0.125),
    ],
)
def test_a_text_alone_is_read(text: str, number: float) -> None:
    found = parse_numbers([text])
    assert found.values.tolist() == [number]
    assert (found.problems, found.told) == ((), ())


@pytest.mark.parametrize(
    "text",
    [
        "cheap",
        "3 x 4",
        "5-6",
        "5 - 6",
        "(5)",
        "~5",
        "> 5",
        "1,2,3",
        "1.5.2",
        "12,90,5",
        "nan",
        "1 2",
        "5/6",
        "--5",
    ],
)
def test_what_is_no_number_is_told_with_its_text(text: str) -> None:
    found = parse_numbers([1.0, text])
    assert np.isnan(found.values[1])
    (problem,) = found.problems
    assert (problem.position, problem.kind, problem.lost) == (1, "not a number", True)
    assert problem.message == f"expected a number, got {text!r}"


def test_numbers_stay_and_what_is_not_finite_or_empty_is_missing_without_a_word() -> None:
    column = (
        1,
        2.5,
        Decimal("3.25"),
        np.float32(4),
        True,
        None,
        math.nan,
        math.inf,
        "",
        "  ",
        10**400,
        "1e999",
    )
    assert parsed(*column) == [1, 2.5, 3.25, 4, 1, None, None, None, None, None, None, None]
    assert parse_numbers(column).problems == ()


def test_a_column_has_one_decimal_sign_that_of_most_texts() -> None:
    assert parsed("1,299", "12.90", "5.75") == [1299, 12.9, 5.75]
    assert parsed("1.299", "12,90", "5,75") == [1299, 12.9, 5.75]
    assert parsed("1,299", "1.299") == [1299, 1.299]  # nothing decides: the point
    found = parse_numbers(["12.90", "5.75", "12,90"])
    assert found.problems[0].message == (
        "expected a number with a decimal point, as most of the column, got '12,90'"
    )
    assert np.isnan(found.values[2])
    commas = parse_numbers(["12,90", "5,75", "12.90"]).problems
    assert commas[0].message == "expected a number with a decimal comma, as most of the column, got '12.90'"


def test_a_column_has_one_unit_and_what_has_none_is_taken_as_in_it() -> None:
    found = parse_numbers(["1 kg", "2 KG", "500 g", "3", 4])
    assert found.values.tolist()[:2] == [1, 2]
    assert found.values.tolist()[3:] == [3, 4]
    assert found.problems[0].message == "expected a number in 'kg', as most of the column, got '500 g'"
    assert found.told == ("numbers without a unit taken as in 'kg': 1",)


def test_a_column_that_goes_on_another_keeps_its_way_whatever_most_texts_have() -> None:
    commas = parse_numbers(["1.299,00 EUR", "12,90 EUR"])
    assert (commas.point, commas.unit) == (",", "eur")
    on = parse_numbers(["1.299", "12.90", "7.25", "$3", 2], like=commas)
    assert on.values[[0, 4]].tolist() == [1299, 2]
    assert [(one.position, one.message) for one in on.problems] == [
        (1, "expected a number with a decimal comma, as most of the column, got '12.90'"),
        (2, "expected a number with a decimal comma, as most of the column, got '7.25'"),
        (3, "expected a number in 'eur', as most of the column, got '$3'"),
    ]
    (refused,) = parse_numbers(["500 g"], like=parse_numbers([1.5])).problems
    assert refused.message == "expected a number without a unit, got '500 g'"


def test_a_long_text_is_told_in_short() -> None:
    (problem,) = parse_numbers(["x" * 400]).problems
    assert problem.message == f"expected a number, got {'x' * 37 + '...'!r}"


def test_what_is_neither_number_nor_text_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(TypeError, match="expected a number, a text or None, got list"):
        parse_numbers([[1]])


@given(st.text(max_size=12))
def test_no_text_breaks_the_reading(text: str) -> None:
    found = parse_numbers([text])
    assert bool(np.isfinite(found.values[0])) + len(found.problems) <= 1


@given(
    st.floats(min_value=-1e9, max_value=1e9), st.sampled_from(["{:,.2f}", "{:.2f}", "${:,.2f}", "{:,.2f} kg"])
)
def test_what_is_written_is_read_again(number: float, form: str) -> None:
    assert parse_numbers([form.format(number)]).values[0] == round(number, 2)


def test_the_cosine_falls_with_the_distance_of_the_quantiles_as_promised() -> None:
    for width in (6, 16, 40):
        values = np.geomspace(1, 1e6, 201)  # quantiles 0, 0.005, ..., 1
        rows = number_features(values, width=width).rows.astype(np.float64)
        quantile = np.arange(201) / 200
        distance = np.abs(quantile[:, None] - quantile)
        promised = np.exp(-((distance * (width - 5) / 2) ** 2))
        assert np.abs(rows @ rows.T - promised).max() < 0.01
        from_the_middle_up = (rows @ rows.T)[100, 100:]
        assert (np.diff(from_the_middle_up) <= 1e-9).all()


def test_equal_numbers_have_equal_rows_in_the_middle_of_their_places() -> None:
    found = number_features(np.array([5.0, 1.0, 5.0, 9.0, 5.0]))
    assert found.scale.values.tolist() == [1, 5, 9]
    assert found.scale.quantiles.tolist() == [0, 0.5, 1]
    np.testing.assert_array_equal(found.rows[0], found.rows[2])


def test_a_constant_column_and_a_single_number_stand_in_the_middle() -> None:
    for values in (np.full(4, 7.0), np.array([7.0])):
        found = number_features(values)
        assert found.scale.quantiles.tolist() == [0.5]
        assert found.present.all()
        np.testing.assert_allclose(found.rows, found.rows[:, ::-1])


def test_new_numbers_take_the_scale_and_those_beyond_its_ends_count_as_the_ends() -> None:
    scale = number_features(np.array([10.0, 20.0, 30.0])).scale
    new = encode_numbers(np.array([-1e308, 10.0, 15.0, 30.0, 1e308, np.nan]), scale)
    np.testing.assert_array_equal(new.rows[0], new.rows[1])
    np.testing.assert_array_equal(new.rows[3], new.rows[4])
    assert new.rows[2] @ new.rows[1] == pytest.approx(math.exp(-((0.25 * 11 / 2) ** 2)), abs=0.01)
    assert new.present.tolist() == [True] * 5 + [False]
    again = NumberScale(
        values=np.array(scale.values.tolist()), quantiles=np.array(scale.quantiles.tolist()), width=16
    )
    np.testing.assert_array_equal(encode_numbers(np.array([15.0]), again).rows[0], new.rows[2])


def test_many_numbers_leave_a_thousand_knots_that_say_nearly_the_same() -> None:
    values = np.random.default_rng(0).lognormal(size=20_000)
    found = number_features(values)
    assert len(found.scale.values) == MOST_KNOTS
    exact = np.argsort(np.argsort(values)) / (len(values) - 1)
    told = np.interp(values, found.scale.values, found.scale.quantiles)
    assert np.abs(exact - told).max() < 0.001


def test_without_any_number_nothing_is_present_and_a_narrow_width_is_refused() -> None:
    found = number_features(np.array([np.nan, np.inf]))
    assert not found.present.any()
    assert not found.rows.any()
    assert not encode_numbers(np.array([1.0]), found.scale).present.any()
    with pytest.raises(ConfigError, match="expected a width of at least 6, got 5"):
        number_features(np.array([1.0]), width=5)


@settings(deadline=None)
@given(NUMBERS)
def test_rows_have_length_one_where_present_and_zero_elsewhere(numbers: list[float]) -> None:
    values = np.array(numbers, dtype=np.float64)
    found = number_features(values)
    assert found.present.tolist() == np.isfinite(values).tolist()
    np.testing.assert_allclose(np.linalg.norm(found.rows, axis=1), found.present, atol=1e-6)
    assert (np.diff(found.scale.values) > 0).all()
    assert (np.diff(found.scale.quantiles) > 0).all()
    assert found.scale.quantiles.min(initial=0) >= 0
    assert found.scale.quantiles.max(initial=1) <= 1
