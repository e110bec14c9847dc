"""Pictures described by their colours and edges."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fuserec.content.encoder import Encoder
from fuserec.content.pictures import read
from fuserec.content.pictures.descriptor import Descriptor, _edges

COLOURS, GRID = 80, 256


def save(folder: Path, name: str, image: Image.Image) -> Path:
    image.save(folder / f"{name}.png")
    return folder / f"{name}.png"


def noise(seed: int, size: tuple[int, int] = (40, 60)) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    )


def literal_edges(rgb: NDArray[np.uint8], grid: int) -> NDArray[np.float64]:
    """Histograms of oriented gradients of one picture, pixel by pixel."""
    side = len(rgb)
    light = [
        [math.sqrt((0.299 * r + 0.587 * g + 0.114 * b) / 255) for r, g, b in line] for line in rgb.tolist()
    ]
    cells = np.zeros((grid, grid, 9))
    for y in range(side):
        for x in range(side):
            across = light[y][min(x + 1, side - 1)] - light[y][max(x - 1, 0)]
            down = light[min(y + 1, side - 1)][x] - light[max(y - 1, 0)][x]
            angle = math.degrees(math.atan2(down, across)) % 180
            for orientation in range(9):
                far = abs(angle - (10 + 20 * orientation))
                share = max(0.0, 1 - min(far, 180 - far) / 20)
                cells[y * grid // side, x * grid // side, orientation] += share * math.hypot(across, down)
    cells *= grid**2 / side**2
    rows = []
    for y in range(grid - 1):
        for x in range(grid - 1):
            block = np.concatenate([cells[y, x], cells[y, x + 1], cells[y + 1, x], cells[y + 1, x + 1]])
            block = np.minimum(block / math.sqrt((block**2).sum() + 1e-4), 0.2)
            rows.append(block / math.sqrt((block**2).sum() + 1e-4))
    return np.concatenate(rows)


@pytest.mark.parametrize(("side", "grid"), [(16, 4), (13, 3), (8, 2)])
def test_edges_equal_the_literal_form(side: int, grid: int) -> None:
    rgb = np.random.default_rng(side).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    literal = [literal_edges(picture, grid) for picture in rgb]
    np.testing.assert_allclose(_edges(rgb, grid), literal, atol=1e-9)


def test_it_keeps_the_promise_of_an_encoder() -> None:
    descriptor = Descriptor()
    assert isinstance(descriptor, Encoder)
    assert "no learnt weights" in descriptor.name
    assert descriptor.options["kind"] == "descriptor"
    assert [len(batch) for batch in descriptor.batches(range(130))] == [64, 64, 2]
    assert np.concatenate(descriptor.batches(range(130))).tolist() == list(range(130))
    assert descriptor.batches([]) == []


def test_each_part_has_the_same_share(tmp_path: Path) -> None:
    (row,) = Descriptor().encode([save(tmp_path, "a", noise(0))]).rows
    assert (len(row), row.dtype) == (Descriptor().width, np.float32)
    parts = np.split(row, [COLOURS, COLOURS + GRID])
    np.testing.assert_allclose([np.linalg.norm(part) for part in parts], 1, atol=1e-5)


def test_red_is_one_colour_everywhere_and_told_as_flat(tmp_path: Path) -> None:
    encoded = Descriptor().encode([save(tmp_path, "red", Image.new("RGB", (30, 20), (255, 0, 0)))])
    row = encoded.rows[0]
    assert np.isfinite(row).all()
    assert sorted(row[:COLOURS])[-2:] == [0, 1]
    assert (row[COLOURS : COLOURS + GRID] > 0).sum() == 16, "one colour in each of 4 x 4 cells"
    assert not row[COLOURS + GRID :].any(), "no edges"
    assert [(one.position, one.kind, one.lost) for one in encoded.problems] == [(0, "flat", False)]


def test_like_pictures_are_nearer_than_others(tmp_path: Path) -> None:
    ramp = Image.linear_gradient("L").convert("RGB")
    images = [ramp, ramp.resize((100, 150)), ramp.rotate(90), noise(1)]
    rows = Descriptor().encode([save(tmp_path, str(n), image) for n, image in enumerate(images)]).rows
    alike = rows @ rows[0] / 3
    assert alike[1] > 0.99
    assert alike[2:].max() < 0.9


def test_what_cannot_be_read_is_zero_and_told_in_order(tmp_path: Path) -> None:
    flat = save(tmp_path, "flat", Image.new("RGB", (9, 9), "white"))
    (tmp_path / "text.jpg").write_text("no picture")
    paths = [tmp_path / "text.jpg", flat, save(tmp_path, "good", noise(0)), tmp_path / "none.jpg"]
    encoded = Descriptor().encode(paths)
    assert encoded.rows.any(axis=1).tolist() == [False, True, True, False]
    assert [(one.position, one.kind) for one in encoded.problems] == [
        (0, "not a picture"), (1, "flat"), (3, "missing"),
    ]  # fmt: skip
    assert not Descriptor().encode(paths[:1]).rows.any()


def test_rows_depend_neither_on_the_batch_nor_on_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [save(tmp_path, str(number), noise(number)) for number in range(7)]
    rows = Descriptor().encode(paths).rows
    monkeypatch.setattr(read, "_THREADS", 1)
    np.testing.assert_array_equal(Descriptor().encode(paths).rows, rows)
    np.testing.assert_array_equal(Descriptor().encode(paths[3:5]).rows, rows[3:5])
