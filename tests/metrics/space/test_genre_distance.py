from __future__ import annotations

import math

import pytest
import torch

from fuserec.metrics.space import genre_distance


def test_three_genres_by_hand() -> None:
    vectors = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, -3.0]])
    genres = torch.tensor([[True, False, True], [False, True, True], [False, False, False]])
    # means (1, 0), (0, 1) and their middle; the third item has no genre
    expected = (math.sqrt(2) + 2 * math.sqrt(0.5)) / 3
    assert genre_distance(vectors, genres) == pytest.approx(expected)


def test_genres_of_the_same_items_lie_in_one_place() -> None:
    vectors = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert genre_distance(vectors, torch.ones(5, 2, dtype=torch.bool)) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("num_genres", [0, 1])
def test_fewer_than_two_genres_have_no_distance(num_genres: int) -> None:
    assert math.isnan(genre_distance(torch.ones(3, 2), torch.ones(3, num_genres, dtype=torch.bool)))
