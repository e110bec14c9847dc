from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fuserec.cli.features_impute import command
from fuserec.data.build import Sources, build


def test_impute_describes_the_new_dataset_or_prints_its_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "events.csv").write_text(
        "user,item\n" + "".join(f"u{user},{item}\n" for user in range(4) for item in range(user, user + 5))
    )
    (tmp_path / "items.csv").write_text("item\n" + "".join(f"{item}\n" for item in range(9)))
    text = np.arange(1, 19, dtype=np.float32).reshape(9, 2)
    text[[1, 8]] = 0
    np.save(tmp_path / "text.npy", text)
    shop = build(
        tmp_path / "shop",
        Sources(
            events=tmp_path / "events.csv",
            items=tmp_path / "items.csv",
            features={"text": tmp_path / "text.npy"},
        ),
    )
    command(shop.path, tmp_path / "new", modality=["text"], split="leave-one-out", neighbours=3, steps=2)
    told = "training events of the split leave-one-out alone, 3 neighbours, 2 steps"
    assert told in capsys.readouterr().out
    command(shop.path, tmp_path / "new", how="mean", overwrite=True, json=True)
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["parent"] == shop.manifest_hash
    assert manifest["modalities"]["text"]["features"]["present"] == 9
