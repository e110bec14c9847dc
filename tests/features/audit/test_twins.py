from __future__ import annotations

import pytest
import torch

from fuserec.features.audit.twins import ALIKE, SHOWN, Twins, find_twins


def everything(features: torch.Tensor) -> torch.Tensor:
    return torch.ones(len(features), dtype=torch.bool)


def test_pairs_are_counted_as_a_person_would() -> None:
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.01], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    present = torch.tensor([True, True, True, True, True, False])
    found = find_twins(features, present)
    # 0, 2 and 3 are alike, 0 and 3 the same
    assert (found.pairs, found.identical, found.items) == (3, 1, 3)
    (example,) = found.examples
    assert (example.first, example.second, example.identical) == (0, 2, False)
    assert ALIKE < example.cosine < 1


@pytest.mark.parametrize("block", [1, 3, 64])
def test_blocks_find_what_the_dense_matrix_says(block: int) -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(12, 6, generator=generator)
    features = (
        centres[torch.randint(0, 12, (40,), generator=generator)]
        + torch.randn(40, 6, generator=generator) * 0.02
    )
    features[7] = features[30]
    present = torch.rand(40, generator=generator) < 0.9
    present[[7, 30]] = True
    unit = torch.nn.functional.normalize(features, dim=1)
    alike = ((unit @ unit.T) >= ALIKE) & present & present[:, None]
    alike.fill_diagonal_(False)
    found = find_twins(features, present, block=block)
    assert found.pairs == int(alike.sum()) // 2 > 5
    assert found.items == int(alike.any(1).sum())
    assert found.identical == 1
    assert all(bool(alike[twin.first, twin.second]) and twin.first < twin.second for twin in found.examples)


def test_one_placeholder_for_many_items_is_counted_whole_and_shown_without_hiding_others() -> None:
    features = torch.eye(64)
    features[:50] = features[0]
    features[61] = features[60]
    found = find_twins(features, everything(features))
    assert (found.pairs, found.identical, found.items) == (50 * 49 // 2 + 1, 50 * 49 // 2 + 1, 52)
    assert len({row for twin in found.examples for row in (twin.first, twin.second)}) == 2 * len(
        found.examples
    )
    assert (found.examples[-1].first, found.examples[-1].second) == (60, 61)
    assert len(found.examples) <= SHOWN


def test_negative_zero_is_zero_and_scaled_rows_are_alike_but_not_identical() -> None:
    features = torch.tensor([[0.0, 1.0], [-0.0, 1.0], [0.0, 2.0]])
    found = find_twins(features, everything(features))
    assert (found.pairs, found.identical) == (3, 1)


def test_none_or_one_item_has_no_twin() -> None:
    for count in (0, 1):
        features = torch.ones(count, 3)
        assert find_twins(features, everything(features)) == Twins(pairs=0, identical=0, items=0, examples=())
