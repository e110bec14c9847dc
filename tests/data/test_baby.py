"""The real Amazon Baby files build, and have the counts that their README states."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuserec.data.build import Sources, build
from fuserec.data.schema import BuildOptions

pytestmark = pytest.mark.real


def test_amazon_baby_has_the_published_counts(real_data: Path, tmp_path: Path) -> None:
    baby = real_data / "amazon-baby"
    dataset = build(
        tmp_path / "baby",
        Sources(
            events=baby / "interactions.parquet",
            items=baby / "items.parquet",
            features={name: baby / f"features_{name}_recon256.npy" for name in ("image", "text")},
            graphs={name: baby / f"knn10_{name}.npz" for name in ("image", "text")},
        ),
        BuildOptions(
            columns={"user": "user_id", "item": "item_id"},
            split_columns=("split", "split_mmrec"),
            strict=True,
        ),
    )
    counts = dataset.manifest.counts
    assert (counts.users, counts.items, counts.interactions) == (19_445, 7_050, 160_792)
    sizes = {name: (split.train, split.valid, split.test) for name, split in dataset.manifest.splits.items()}
    assert sizes == {"split": (119_674, 20_559, 20_559), "split_mmrec": (118_551, 20_559, 21_682)}
    assert dataset.manifest.report.findings == ()
    for name in dataset.splits:
        prepared = dataset.prepare(name)
        assert (len(prepared.corpus.train), len(prepared.valid), len(prepared.test)) == sizes[name]
        for modality in prepared.corpus.modalities:
            assert modality.features is not None
            assert modality.graph is not None
            assert modality.features.shape == (7_050, 256)
            assert modality.graph.neighbours.shape == (7_050, 10)
            assert bool(modality.present.all())
