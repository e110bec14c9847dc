from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fuserec.data.build import Sources, build
from fuserec.data.dataset import Dataset
from fuserec.data.schema import BuildOptions


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 users of two tastes and 24 items with text; half of them have pictures, one of which is broken."""
    folder = tmp_path_factory.mktemp("raw")
    rng = np.random.default_rng(0)
    events = ["user,item,time"]
    for user in range(40):
        likes = rng.permutation([item for item in range(24) if item % 2 == user % 2])[:7]
        events += [f"u{user},i{item},{1_000_000 + 60 * place + user}" for place, item in enumerate(likes)]
    (folder / "events.csv").write_text("\n".join(events) + "\n")
    items = ["item,title,category,image"]
    (folder / "pictures").mkdir()
    for item in range(24):
        picture = f"{item}.png" if item % 2 == 0 else ""
        items.append(f"i{item},<b>Thing</b> & {item},odd|<i>,{picture}")
        if picture:
            Image.new("RGB", (300, 200), (10 * item, 90, 120)).save(folder / "pictures" / picture)
    (folder / "pictures" / "4.png").write_text("no picture")
    (folder / "items.csv").write_text("\n".join(items) + "\n")
    text = rng.normal(size=(24, 6)).astype(np.float32) + 2 * (np.arange(24) % 2)[:, None]
    text[23], text[4] = text[21], 0
    np.save(folder / "text.npy", text)
    neighbours = (np.arange(24)[:, None] + np.array([2, 4, 6])) % 24
    np.savez(
        folder / "kind.npz",
        neighbours=neighbours.astype(np.int64),
        weights=np.full((24, 3), 0.5, dtype=np.float32),
    )
    return folder


@pytest.fixture(scope="session")
def shop(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The dataset of these files; said to be synthetic."""
    sources = Sources(
        events=raw / "events.csv",
        items=raw / "items.csv",
        features={"text": raw / "text.npy"},
        graphs={"kind": raw / "kind.npz"},
    )
    return build(tmp_path_factory.mktemp("built") / "shop", sources, BuildOptions(synthetic=True))
