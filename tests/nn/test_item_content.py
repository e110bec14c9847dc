from __future__ import annotations

import pytest
import torch

from fuserec.errors import DataError
from fuserec.nn import ItemContent


def content(titles: list[list[float]], image: list[list[float]], present: list[bool]) -> ItemContent:
    return ItemContent(
        titles=torch.tensor(titles),
        modalities={"image": (torch.tensor(image), torch.tensor(present))},
        genres=torch.zeros(len(titles), 2, dtype=torch.bool),
    )


def test_rows_are_scaled_to_unit_length_and_what_is_absent_to_zero() -> None:
    found = content([[3.0, 4.0], [0.0, 2.0]], [[5.0], [7.0]], [True, False]).standardised()
    torch.testing.assert_close(found.titles, torch.tensor([[0.6, 0.8], [0.0, 1.0]]))
    features, present = found.modalities["image"]
    assert features.tolist() == [[1.0], [0.0]]
    assert present.tolist() == [True, False]


def test_what_stands_in_the_row_of_an_absent_modality_may_be_anything() -> None:
    found = content([[1.0], [1.0]], [[2.0], [float("nan")]], [True, False]).standardised()
    assert found.modalities["image"][0].tolist() == [[1.0], [0.0]]


def test_rows_are_standardised_one_by_one() -> None:
    whole = content([[3.0, 4.0], [0.0, 2.0], [1.0, 1.0]], [[5.0], [7.0], [1.0]], [True, False, True])
    part = whole.rows(torch.tensor([2, 0]))
    assert len(part) == 2
    assert torch.equal(part.standardised().titles, whole.standardised().titles[[2, 0]])
    assert part.modalities["image"][1].tolist() == [True, True]
    assert len(whole.rows(slice(1, 9))) == 2


def test_content_that_says_nothing_or_no_number_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"expected features of a title .*, got zeros in row 1; give the text"
    ):
        content([[1.0], [0.0]], [[1.0], [1.0]], [True, True]).standardised()
    with pytest.raises(DataError, match="expected finite features of 'title', got NaN or infinity in row 0"):
        content([[float("inf")]], [[1.0]], [True]).standardised()
    with pytest.raises(DataError, match="expected finite features of 'image', got NaN or infinity in row 1"):
        content([[1.0], [1.0]], [[1.0], [float("nan")]], [True, True]).standardised()
