"""A small shop with pictures, categories and prices, as files and as a dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fuserec.data import Dataset
from fuserec.data.build import Sources, build
from fuserec.data.schema import BuildOptions
from fuserec.features.job import Line, Outcome

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


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny encoder of pictures with random weights, as transformers saves it."""
    transformers = pytest.importorskip("transformers", reason="the extra images is not installed")
    folder = tmp_path / "tiny"
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = transformers.Dinov2Config(image_size=14, patch_size=7, mlp_ratio=1, **sizes)
    transformers.Dinov2Model(config).save_pretrained(folder)
    size = {"height": 14, "width": 14}
    transformers.BitImageProcessorPil(size={"shortest_edge": 14}, crop_size=size).save_pretrained(folder)
    return folder


def line(outcome: Outcome, modality: str) -> Line:
    (found,) = [one for one in outcome.lines if one.modality == modality]
    return found


def files(dataset: Dataset) -> dict[str, bytes]:
    return {
        path.relative_to(dataset.path).as_posix(): path.read_bytes()
        for path in sorted(dataset.path.rglob("*"))
        if path.is_file()
    }
