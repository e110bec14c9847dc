"""A small shop with pictures, categories and prices, as files and as a dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fuserec.data import Dataset
from fuserec.data.build import Sources, build
from fuserec.data.schema import BuildOptions

ITEMS = 8


def draw(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return draw_photos(tmp_path / "photos")


def draw_photos(folder: Path) -> Path:
    """A picture for every item but the last."""
    folder.mkdir()
    for item in range(ITEMS - 1):
        draw(folder / f"i{item}.png", item)
    return folder


@pytest.fixture
def shop(tmp_path: Path) -> Dataset:
    return build_shop(tmp_path / "shop", tmp_path)


def build_shop(out: Path, scratch: Path) -> Dataset:
    events = [f"u{user},i{(user + place) % ITEMS},{100 + place}" for user in range(6) for place in range(4)]
    (scratch / "events.csv").write_text("\n".join(["user,item,time", *events]) + "\n")
    items = [f"i{item},{'sea|old' if item % 2 else 'hill'},{item + 1}.50" for item in range(ITEMS)]
    (scratch / "items.csv").write_text("\n".join(["item,category,price", *items]) + "\n")
    return build(out, Sources(events=scratch / "events.csv", items=scratch / "items.csv"), BuildOptions())
