from __future__ import annotations

import math
from importlib import import_module

import pytest
import torch
from torch import Tensor

from fuserec.metrics.space import title_retrieval


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_four_items_by_hand() -> None:
    titles = torch.eye(4)
    vectors = torch.eye(4)
    vectors[1] = torch.tensor([0.0, 0.5, 1.0, 0.0])  # farther from its title than nobody, but takes 2's
    vectors[2] = torch.tensor([0.0, 1.0, 0.5, 0.0])
    genres = torch.tensor([[True, False], [True, False], [False, True], [True, False]])
    # 1 and 2 are of different genres and swapped, so neither is found first; 0 and 3 are
    assert title_retrieval(titles, vectors, genres, k=1) == 0.5
    assert title_retrieval(titles, vectors, genres, k=2) == 1.0
    # of one genre they are no negatives of each other
    genres[2] = torch.tensor([True, True])
    assert math.isnan(title_retrieval(titles, vectors, genres, k=1))


def test_it_is_the_literal_count() -> None:
    titles, vectors, genres = drawn(0, 30, 4), drawn(1, 30, 4), drawn(2, 30, 3) > 0.3
    vectors = titles + 0.7 * vectors
    genres[7] = False
    cosine = (
        torch.nn.functional.normalize(titles.double()) @ torch.nn.functional.normalize(vectors.double()).T
    )
    for k in (1, 3):
        hits = []
        for i in range(30):
            negatives = [j for j in range(30) if j != i and not (genres[i] & genres[j]).any()]
            if negatives:
                hits.append(sum(bool(cosine[i, j] >= cosine[i, i]) for j in negatives) < k)
        assert title_retrieval(titles, vectors, genres, k=k) == pytest.approx(sum(hits) / len(hits))


def test_blocks_of_items_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    titles, genres = drawn(0, 20, 4), drawn(2, 20, 3) > 0.3
    vectors = titles + drawn(1, 20, 4)
    whole = title_retrieval(titles, vectors, genres)
    monkeypatch.setattr(import_module("fuserec.metrics.space.title_retrieval"), "COSINES_IN_MEMORY", 60)
    assert title_retrieval(titles, vectors, genres) == whole


def test_a_collapsed_space_finds_nothing_and_the_titles_themselves_all() -> None:
    titles, genres = drawn(0, 20, 4), torch.eye(4)[torch.arange(20) % 4] > 0
    assert title_retrieval(titles, torch.ones(20, 4), genres) == 0.0
    assert title_retrieval(titles, 3 * titles, genres) == 1.0


def test_an_item_without_an_anchor_does_not_ask_and_is_still_in_the_way() -> None:
    titles, vectors, genres = torch.eye(3), torch.eye(3), torch.eye(3) > 0
    titles[0] = 0.0
    vectors[0] = torch.tensor([0.0, 1.0, 0.0])
    assert title_retrieval(titles, vectors, genres) == 0.5
