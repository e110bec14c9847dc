from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from fuserec.metrics.space import (
    cosine_correlation,
    effective_rank,
    ridge_probe,
    space_diagnostics,
    title_retrieval,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=rng(seed))


def spaces(count: int = 40) -> dict[str, Any]:
    present = torch.arange(count) % 3 != 0
    return {
        "anchor": drawn(0, count, 6),
        "fused": drawn(0, count, 6) + drawn(1, count, 6),
        "titles": drawn(2, count, 9),
        "genres": drawn(3, count, 4) > 0.5,
        "modalities": {"image": (drawn(4, count, 6) * present[:, None], drawn(5, count, 3), present)},
        "collaborative": drawn(6, count, 5),
        "known": torch.arange(count) % 5 != 0,
    }


NAMES = {
    "title_retrieval@1/fused",
    "title_retrieval@10/fused",
    "title_retrieval@1/image",
    "title_retrieval@10/image",
    "collaborative_correlation",
    "title_rank_correlation",
    "uniformity",
    "genre_distance",
    "effective_rank/fused",
    "effective_rank/anchor",
    "effective_rank/image",
    "probe/image",
    "anchor_probe/image",
}


def test_every_number_is_that_of_its_own_function() -> None:
    given = spaces()
    found = space_diagnostics(**given, generator=rng())
    assert found.keys() == NAMES
    assert all(math.isfinite(value) for value in found.values())
    assert found["title_retrieval@1/fused"] == title_retrieval(
        given["anchor"], given["fused"], given["genres"]
    )
    known = given["known"]
    assert found["collaborative_correlation"] == cosine_correlation(
        given["fused"][known], given["collaborative"][known]
    )
    vectors, _, present = given["modalities"]["image"]
    assert found["effective_rank/image"] == effective_rank(vectors[present])


def test_items_that_lack_a_modality_or_are_not_known_change_nothing() -> None:
    given = spaces()
    vectors, features, present = given["modalities"]["image"]
    garbage = torch.where(present[:, None], features, 1e6)
    other = {
        **given,
        "modalities": {"image": (torch.where(present[:, None], vectors, 7.0), garbage, present)},
        "collaborative": torch.where(given["known"][:, None], given["collaborative"], 1e6),
    }
    assert space_diagnostics(**other, generator=rng()) == space_diagnostics(**given, generator=rng())


def test_both_probes_hold_out_the_same_items() -> None:
    given = spaces()
    given["anchor"] = given["fused"]
    found = space_diagnostics(**given, generator=rng())
    assert found["probe/image"] == found["anchor_probe/image"]
    _, features, present = given["modalities"]["image"]
    values = {ridge_probe(given["fused"][present], features[present], generator=rng(s)) for s in range(9)}
    assert len(values) > 1


def test_a_large_catalogue_is_looked_at_through_items_drawn() -> None:
    given = spaces(60)
    found = space_diagnostics(**given, generator=rng(), max_items=30)
    assert found == space_diagnostics(**given, generator=rng(), max_items=30)
    whole = space_diagnostics(**given, generator=rng(), max_items=60)
    assert found != whole
    assert found["uniformity"] == pytest.approx(whole["uniformity"], abs=0.5)


def test_what_is_not_defined_is_left_out() -> None:
    given = spaces()
    given["genres"] = torch.ones(40, 1, dtype=torch.bool)
    given["known"] = torch.zeros(40, dtype=torch.bool)
    found = space_diagnostics(**given, generator=rng())
    left_out = {name for name in NAMES if name.startswith("title_retrieval")}
    assert NAMES - found.keys() == left_out | {"genre_distance", "collaborative_correlation"}
