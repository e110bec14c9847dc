from __future__ import annotations

import pytest
import torch

from fuserec.features.audit.spread import measure_spread


def everything(features: torch.Tensor) -> torch.Tensor:
    return torch.ones(len(features), dtype=torch.bool)


@pytest.mark.parametrize(("items", "width"), [(30, 7), (7, 30)])
def test_the_figures_are_those_of_all_pairs_and_of_the_eigenvalues(items: int, width: int) -> None:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(items, width, generator=generator) * torch.linspace(0.1, 3, width) + 0.4
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    cosines = unit @ unit.T
    found = measure_spread(features, everything(features))
    assert found.mean_cosine == pytest.approx(
        float((cosines.sum() - items) / (items * (items - 1))), abs=1e-6
    )
    values = torch.linalg.eigvalsh(torch.cov(unit.T))
    assert found.directions == pytest.approx(float(values.sum() ** 2 / values.square().sum()), rel=1e-4)
    assert not found.collapsed


def test_constant_columns_are_counted_among_the_items_present() -> None:
    features = torch.tensor([[1.0, 5.0, 0.0], [2.0, 5.0, 1.0], [0.0, 0.0, 0.0]])
    assert measure_spread(features, torch.tensor([True, True, False])).constant == 1
    assert measure_spread(features, everything(features)).constant == 0


def test_rows_around_one_point_are_collapsed() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(200, 16, generator=generator)
    assert measure_spread(noise + 50.0, everything(noise)).mean_cosine > 0.99
    assert measure_spread(noise + 50.0, everything(noise)).collapsed
    assert not measure_spread(noise, everything(noise)).collapsed


def test_rows_along_one_line_are_collapsed() -> None:
    generator = torch.Generator().manual_seed(0)
    line = torch.randn(200, 1, generator=generator) * torch.randn(1, 16, generator=generator)
    found = measure_spread(line, everything(line))
    assert found.directions == pytest.approx(1.0, abs=1e-3)
    assert found.collapsed


def test_one_row_for_all_is_no_direction_at_all() -> None:
    same = torch.full((5, 3), 0.7)
    found = measure_spread(same, everything(same))
    assert (found.constant, found.directions, found.collapsed) == (3, 0.0, True)
    assert found.mean_cosine == pytest.approx(1.0)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_rows_are_collapsed_and_no_division_by_zero(count: int) -> None:
    rows = torch.ones(count, 3)
    found = measure_spread(rows, everything(rows))
    assert (found.mean_cosine, found.directions, found.collapsed) == (0.0, 0.0, True)
