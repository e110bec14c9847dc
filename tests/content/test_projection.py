"""Rows of a catalogue, centred, turned and partly whitened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fuserec.content import projection
from fuserec.content.projection import fit_projection
from fuserec.errors import DataError


def catalogue(items: int = 60, width: int = 8, seed: int = 0) -> NDArray[np.float32]:
    """Rows far from the origin whose columns differ a thousandfold in spread."""
    generator = np.random.default_rng(seed)
    spread = np.logspace(0, 3, width)
    return (100 + generator.normal(size=(items, width)) * spread).astype(np.float32)


def all_of(rows: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.ones(len(rows), dtype=bool)


def test_four_points_on_two_axes_by_hand() -> None:
    rows = np.array([[3, 0], [-3, 0], [0, 1], [0, -1]], dtype=np.float32) + 5
    fitted = fit_projection(rows, all_of(rows))
    np.testing.assert_allclose(fitted.mean, [5, 5])
    # Variances 18/4 and 2/4; each axis is divided by the fourth root of its own.
    np.testing.assert_allclose(fitted.matrix, np.diag([4.5**-0.25, 0.5**-0.25]), atol=1e-12)
    np.testing.assert_allclose(
        fitted.apply(rows, all_of(rows)), [[1, 0], [-1, 0], [0, 1], [0, -1]], atol=1e-6
    )


def test_a_component_s_variance_becomes_its_standard_deviation() -> None:
    rows = catalogue()
    fitted = fit_projection(rows, all_of(rows))
    centred = rows.astype(np.float64) - rows.astype(np.float64).mean(axis=0)
    deviations = np.linalg.svd(centred, compute_uv=False) / np.sqrt(len(rows))
    components = (rows - fitted.mean) @ fitted.matrix
    np.testing.assert_allclose(
        components.T @ components / len(rows), np.diag(deviations), atol=1e-6 * deviations[0]
    )


def test_rows_have_unit_length_and_absent_ones_are_zero() -> None:
    rows = catalogue()
    present = np.arange(len(rows)) % 3 > 0
    projected = fit_projection(rows, present).apply(rows, present)
    assert projected.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(projected[present], axis=1), 1, atol=1e-6)
    assert not projected[~present].any()


def test_what_stands_in_absent_rows_does_not_matter() -> None:
    rows = catalogue()
    present = np.arange(len(rows)) % 3 > 0
    other = rows.copy()
    other[~present] = np.nan
    np.testing.assert_array_equal(fit_projection(rows, present).matrix, fit_projection(other, present).matrix)
    fitted = fit_projection(other, present)
    np.testing.assert_array_equal(fitted.apply(rows, present), fitted.apply(other, present))


def test_the_size_of_blocks_moves_only_last_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = catalogue()
    whole = fit_projection(rows, all_of(rows)).apply(rows, all_of(rows))
    monkeypatch.setattr(projection, "_BLOCK_BYTES", 8 * 8 * 7)
    parts = fit_projection(rows, all_of(rows)).apply(rows, all_of(rows))
    np.testing.assert_allclose(parts, whole, atol=1e-6)


def test_signs_are_settled() -> None:
    matrix = fit_projection(catalogue(), np.ones(60, dtype=bool)).matrix
    largest = np.abs(matrix).argmax(axis=0)
    assert (matrix[largest, np.arange(matrix.shape[1])] > 0).all()


def test_the_width_is_the_most_components() -> None:
    rows = catalogue()
    fitted = fit_projection(rows, all_of(rows), width=3)
    assert fitted.matrix.shape == (8, 3)
    np.testing.assert_array_equal(fitted.matrix, fit_projection(rows, all_of(rows)).matrix[:, :3])


def test_components_without_variance_are_left_out() -> None:
    rows = catalogue(width=4)
    doubled = np.concatenate([rows, rows, np.ones_like(rows)], axis=1)
    assert fit_projection(doubled, all_of(rows)).matrix.shape == (12, 4)


@pytest.mark.parametrize(("count", "components"), [(0, 1), (1, 1), (2, 1), (3, 2)])
def test_few_rows_have_fewer_components_than_rows(count: int, components: int) -> None:
    rows = catalogue()
    present = np.arange(len(rows)) < count
    fitted = fit_projection(rows, present)
    projected = fitted.apply(rows, present)
    assert projected.shape == (60, components)
    assert np.isfinite(projected).all()
    assert projected.any(axis=1).sum() == (count if count > 1 else 0), "one row alone has no direction"


def test_rows_that_are_all_alike_become_zero() -> None:
    rows = np.full((5, 3), 0.1, dtype=np.float32)
    assert not fit_projection(rows, all_of(rows)).apply(rows, all_of(rows)).any()


def test_no_items_are_none() -> None:
    rows = np.zeros((0, 3), dtype=np.float32)
    assert fit_projection(rows, all_of(rows)).apply(rows, all_of(rows)).shape == (0, 1)


def test_new_items_go_where_the_catalogue_s_would() -> None:
    rows = catalogue()
    fitted = fit_projection(rows, all_of(rows))
    np.testing.assert_allclose(
        fitted.apply(rows[7:9], np.array([True, True])), fitted.apply(rows, all_of(rows))[7:9], atol=1e-6
    )


def test_rows_are_read_from_a_memory_map(tmp_path: Path) -> None:
    rows = catalogue()
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    np.testing.assert_array_equal(
        fit_projection(mapped, all_of(rows)).matrix, fit_projection(rows, all_of(rows)).matrix
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    rows = catalogue()
    rows[3, 2] = value
    with pytest.raises(DataError, match="expected finite rows to project, but some hold NaN or infinity"):
        fit_projection(rows, all_of(rows))
