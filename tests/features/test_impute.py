from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pytest
import torch

from fuserec.batch import Pairs
from fuserec.data import BuildOptions, Dataset
from fuserec.data.build import Sources, build, make_dataset
from fuserec.data.features import Features
from fuserec.data.lint import lint
from fuserec.data.plan import Plan
from fuserec.data.schema import PARTS, EncoderEntry, ModalityEntry
from fuserec.data.show import describe
from fuserec.errors import ConfigError, DataError
from fuserec.features.impute import impute
from fuserec.ops.feature_propagation import (
    fill_from_neighbours,
    fill_from_neighbours_reference,
    shared_users_graph,
    shared_users_graph_reference,
)

USERS, ITEMS, GROUPS = 60, 40, 4
COLD, MISSING = 39, (3, 8, 17, 39)
Write = Callable[..., Dataset]


def events(*, poison: int | None = None) -> str:
    """Users keep to a group of items; the last two of each user's are held out, or dealt anew by ``poison``."""
    rng = np.random.default_rng(0)
    lines = ["user,item,part"]
    for user in range(USERS):
        of_group = [item for item in range(ITEMS) if item % GROUPS == user % GROUPS and item != COLD]
        train = rng.permutation(of_group)[:6].tolist()
        held_out = [item for item in of_group if item not in train][:2]
        if poison is not None:
            others = [item for item in range(ITEMS) if item not in train]
            held_out = np.random.default_rng(poison + user).permutation(others)[:2].tolist()
        parts = ["train"] * 6 + ["valid", "test"]
        lines += [
            f"u{user:02},i{item:02},{part}" for item, part in zip([*train, *held_out], parts, strict=True)
        ]
    return "\n".join(lines) + "\n"


@pytest.fixture
def make(tmp_path: Path) -> Write:
    """Builds a dataset: text in float32 with rows missing, image in float16 with a graph and none missing."""

    def build_one(name: str, *, poison: int | None = None, text_present: bool = True) -> Dataset:
        raw = tmp_path / f"raw-{name}"
        raw.mkdir()
        (raw / "events.csv").write_text(events(poison=poison))
        (raw / "items.csv").write_text("item\n" + "".join(f"i{item:02}\n" for item in range(ITEMS)))
        rng = np.random.default_rng(1)
        text = rng.normal(size=(ITEMS, 5)).astype(np.float32)
        text[list(MISSING)] = 0
        np.save(raw / "text.npy", text if text_present else np.zeros_like(text))
        np.save(raw / "image.npy", rng.normal(size=(ITEMS, 3)).astype(np.float16))
        neighbours = (np.arange(ITEMS)[:, None] + [1, 2]) % ITEMS
        for modality in ("text", "image"):
            np.savez(raw / f"{modality}.npz", neighbours=neighbours, weights=np.ones((ITEMS, 2)))
        sources = Sources(
            events=raw / "events.csv",
            items=raw / "items.csv",
            features={"text": raw / "text.npy", "image": raw / "image.npy"},
            graphs={"text": raw / "text.npz", "image": raw / "image.npz"},
        )
        return build(tmp_path / name, sources, BuildOptions(split_columns=("part",)))

    return build_one


def text_of(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    return np.array(dataset.feature_array("text")), np.array(dataset.feature_array("text", "present"))


def test_missing_rows_are_those_of_the_literal_propagation_and_others_stay_to_the_bit(
    make: Write, tmp_path: Path
) -> None:
    old = make("old")
    new = impute(old, tmp_path / "new", neighbours=4, steps=3)
    before, present = text_of(old)
    after, there = text_of(new)
    train: Pairs = old.prepare().corpus.train
    graph = shared_users_graph_reference(train, num_users=USERS, num_items=ITEMS, neighbours=4)
    literal, reached = fill_from_neighbours_reference(
        graph, torch.from_numpy(before), torch.from_numpy(present), steps=3
    )
    np.testing.assert_allclose(after, literal.numpy(), atol=1e-6)
    assert there.tolist() == reached.tolist()
    assert after[present].tobytes() == before[present].tobytes()
    assert [item for item in range(ITEMS) if not there[item]] == [COLD]
    assert not after[COLD].any()


def test_held_out_events_change_no_row(make: Write, tmp_path: Path) -> None:
    rows = [
        text_of(impute(make(f"old-{poison}", poison=poison), tmp_path / f"new-{poison}"))[0].tobytes()
        for poison in (None, 100, 200)
    ]
    assert rows[0] == rows[1] == rows[2]


def test_the_linter_finds_no_leak_where_it_finds_one_had_all_events_been_used(tmp_path: Path) -> None:
    users, items = 300, 60
    rng = np.random.default_rng(0)
    had = [rng.permutation(items)[:8] for _ in range(users)]
    lines = [
        f"u{user:03},i{item:02},{part}"
        for user, own in enumerate(had)
        for item, part in zip(own, ["train"] * 4 + ["valid"] * 2 + ["test"] * 2, strict=True)
    ]
    (tmp_path / "events.csv").write_text("\n".join(["user,item,part", *lines]) + "\n")
    (tmp_path / "items.csv").write_text("item\n" + "".join(f"i{item:02}\n" for item in range(items)))
    text = rng.normal(size=(items, 16)).astype(np.float32)
    text[rng.random(items) < 0.8] = 0

    def built(name: str, matrix: np.ndarray) -> Dataset:
        np.save(tmp_path / f"{name}.npy", matrix)
        sources = Sources(
            events=tmp_path / "events.csv",
            items=tmp_path / "items.csv",
            features={"text": tmp_path / f"{name}.npy"},
        )
        return build(tmp_path / name, sources, BuildOptions(split_columns=("part",)))

    def leaks(dataset: Dataset) -> set[str]:
        return {leak.kind for leak in lint(dataset) if leak.severity == "leak"}

    old = built("old", text)
    everything = Pairs(
        users=torch.arange(users).repeat_interleave(8), items=torch.from_numpy(np.concatenate(had))
    )
    graph = shared_users_graph(everything, num_users=users, num_items=items, neighbours=5)
    leaky, _ = fill_from_neighbours(graph, torch.from_numpy(text), torch.from_numpy(text.any(1)), steps=1)
    assert leaks(built("leaky", leaky.numpy())) == {"content"}
    assert leaks(impute(old, tmp_path / "new", neighbours=5, steps=1)) == set()


def test_the_mean_fills_every_row_and_zeros_pass_for_features(make: Write, tmp_path: Path) -> None:
    old = make("old")
    before, present = text_of(old)
    after, there = text_of(impute(old, tmp_path / "mean", how="mean"))
    assert there.all()
    assert after[present].tobytes() == before[present].tobytes()
    np.testing.assert_allclose(
        after[~present], np.tile(before[present].mean(0), (len(MISSING), 1)), rtol=1e-5
    )
    after, there = text_of(impute(old, tmp_path / "zeros", how="zeros"))
    assert there.all()
    assert after.tobytes() == before.tobytes()


def test_all_else_stays_and_the_manifest_tells_what_happened(make: Write, tmp_path: Path) -> None:
    old = make("old")
    files = {name: (old.path / name).read_bytes() for name in old.manifest.files}
    new = impute(old, tmp_path / "new")
    assert {name: (old.path / name).read_bytes() for name in old.manifest.files} == files
    changed = {"features/text.npy", "features/text.present.npy", "graphs/text.npz", "summary.md"}
    assert {name for name in new.manifest.files if (new.path / name).read_bytes() != files[name]} < changed
    assert set(old.manifest.files) - set(new.manifest.files) == {"graphs/text.npz"}
    assert new.manifest.parent == old.manifest_hash
    assert new.manifest.modalities["image"] == old.manifest.modalities["image"]
    text = new.manifest.modalities["text"]
    assert (text.graph, text.features and text.features.present) == (None, ITEMS - 1)
    first, *others = new.manifest.report.findings
    assert tuple(others) == old.manifest.report.findings
    assert (first.kind, first.count) == ("imputed", 3)
    assert first.message == (
        "text features of 3 of 4 items without any filled in with what items that share users with them have (training "
        "events of the split part alone, 20 neighbours, 20 steps); the ready graph is left out, since it was made "
        "without them"
    )
    assert first.message in describe(new.manifest)
    assert Dataset.open(new.path).manifest_hash == new.manifest_hash
    assert impute(old, tmp_path / "again").manifest_hash == new.manifest_hash


def test_where_nothing_is_missing_or_can_be_filled_it_says_so(make: Write, tmp_path: Path) -> None:
    old = make("old")
    with pytest.raises(
        DataError, match=r"^expected missing features to fill in, but every item of .*old has image$"
    ):
        impute(old, tmp_path / "new", modalities=["image"])
    done = impute(old, tmp_path / "done")
    with pytest.raises(
        DataError,
        match=r"^expected a way from an item without text to one with it, but none of 1 has one in the training events "
        r"of the split part; use mean, or leave them missing$",
    ):
        impute(done, tmp_path / "new", modalities=["text"])
    empty = make("empty", text_present=False)
    with pytest.raises(
        DataError, match=r"^expected items with text to fill in others from, but no item of .* has any$"
    ):
        impute(empty, tmp_path / "new", how="mean", modalities=["text"])
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_is_refused(make: Write, tmp_path: Path) -> None:
    old, new = make("old"), tmp_path / "new"
    with pytest.raises(
        ConfigError, match="no way 'propagation' to fill in features; did you mean 'propagate'"
    ):
        impute(old, new, how="propagation")
    with pytest.raises(
        ConfigError, match=r"expected a modality of .* with features, got 'txt'; did you mean 'text'"
    ):
        impute(old, new, modalities=["txt"])
    with pytest.raises(ConfigError, match="no split 'parts'"):
        impute(old, new, split="parts")
    with pytest.raises(ConfigError, match="expected neighbours of at least 1, got 0"):
        impute(old, new, neighbours=0)
    with pytest.raises(DataError, match=r"old is what it is to be made of"):
        impute(old, old.path, overwrite=True)
    (tmp_path / "bare.csv").write_text("user,item\na,1\na,2\nb,1\n")
    bare = build(tmp_path / "bare", Sources(events=tmp_path / "bare.csv"))
    with pytest.raises(DataError, match=r"expected a dataset with features, but .*bare has none"):
        impute(bare, new)
    assert not new.exists()


def test_features_that_gain_rows_lose_their_encoder_and_others_keep_it(make: Write, tmp_path: Path) -> None:
    old = make("plain")
    encoder = EncoderEntry(name="some", options={"kind": "test"}, inputs="0" * 64)
    parts = {"inputs": np.ones((ITEMS, 32), dtype=np.uint8)}
    features = {
        name: replace(features, encoder=encoder, parts=parts)
        for name, features in ((name, _features(old, name)) for name in ("text", "image"))
    }
    entries = {name: ModalityEntry(features=one.entry) for name, one in features.items()}
    plan = Plan(
        manifest=old.manifest.model_copy(update={"modalities": entries}),
        interactions=old.interactions(),
        users=old.users,
        items=old.items,
        splits={"part": old.parts().cast(pl.Enum(PARTS)).to_physical().to_numpy().astype(np.int8)},
        features=features,
        graphs={},
        rejected=old.rejected(),
    )
    new = impute(make_dataset(tmp_path / "encoded", plan), tmp_path / "new")
    text, image = (new.manifest.modalities[name].features for name in ("text", "image"))
    assert text
    assert image
    assert (text.encoder, image.encoder) == (None, encoder)
    assert not new.has_feature_array("text", "inputs")
    assert new.feature_array("image", "inputs").all()


def _features(dataset: Dataset, name: str) -> Features:
    matrix, present = dataset.feature_array(name), dataset.feature_array(name, "present")
    kind: Literal["float16", "float32"] = "float32" if name == "text" else "float16"
    return Features(matrix=matrix, rows=np.arange(ITEMS), present=np.array(present), dtype=kind, findings=())
