from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.batch import Prepared
from fuserec.data import BuildOptions, Dataset
from fuserec.data.append import append_events
from fuserec.data.build import Sources, build
from fuserec.data.export import export_to
from fuserec.data.show import describe
from fuserec.data.shuffled import deal, shuffle_content, shuffle_features, shuffle_graph
from fuserec.errors import ConfigError, DataError
from fuserec.testing.contract import permute_items

Write = Callable[[str, str | bytes], Path]

ITEMS = 12
EVENTS = "user,item,rating,part\n" + "".join(
    f"u{user},i{item:02},{1 + (user + item) % 5},{('train', 'train', 'valid', 'test')[item % 4]}\n"
    for user in range(6)
    for item in range(user, ITEMS)
)
KEPT = ("interactions.parquet", "users.parquet", "items.parquet", "splits/part.parquet", "rejected.parquet")


@pytest.fixture
def old(tmp_path: Path) -> Dataset:
    """12 items: text features (one row empty), an image graph and image features in float16."""
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "events.csv").write_text(EVENTS)
    titles = "".join(f"i{item:02},Title {item}\n" for item in range(ITEMS))
    (raw / "items.csv").write_text("item,title\n" + titles)
    rng = np.random.default_rng(3)
    text = rng.normal(size=(ITEMS, 4)).astype(np.float32)
    text[5] = 0
    np.save(raw / "text.npy", text)
    np.save(raw / "image.npy", rng.normal(size=(ITEMS, 3)).astype(np.float16))
    neighbours = np.stack([rng.permutation(ITEMS)[:3] for _ in range(ITEMS)])
    neighbours[7], neighbours[2, 2] = -1, -1
    np.savez(raw / "image.npz", neighbours=neighbours, weights=rng.random((ITEMS, 3)))
    sources = Sources(
        events=raw / "events.csv",
        items=raw / "items.csv",
        features={"text": raw / "text.npy", "image": raw / "image.npy"},
        graphs={"image": raw / "image.npz"},
    )
    options = BuildOptions(split_columns=("part",), min_rating=2.0, synthetic=True)
    return build(tmp_path / "old", sources, options)


def bytes_of(dataset: Dataset) -> dict[str, bytes]:
    return {name: (dataset.path / name).read_bytes() for name in dataset.manifest.files}


def test_item_i_gets_the_row_of_its_source() -> None:
    matrix = np.array([[1, 1], [2, 2], [0, 0]], dtype=np.float32)
    present = np.array([True, True, False])
    features = shuffle_features(matrix, present, np.array([2, 0, 1]), "float32")
    assert np.concatenate(list(features.blocks())).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert features.present.tolist() == [False, True, True]
    assert (features.entry.width, features.entry.dtype, features.entry.present) == (2, "float32", 2)


def test_neighbours_are_renamed_with_their_content() -> None:
    # 0 -> 1 -> 2, and 2 has none. Item 0 takes the place of 2, item 1 that of 0, item 2 that of 1.
    neighbours = np.array([[1, -1], [2, -1], [-1, -1]])
    weights = np.array([[0.5, 0], [0.25, 0], [0, 0]], dtype=np.float32)
    graph = shuffle_graph(neighbours, weights, np.array([2, 0, 1]))
    assert graph.neighbours.tolist() == [[-1, -1], [2, -1], [0, -1]]
    assert graph.weights.tolist() == [[0, 0], [0.5, 0], [0.25, 0]]


@settings(max_examples=50, deadline=None)
@given(num_items=st.integers(2, 30), seed=st.integers(0, 2**32))
def test_the_graph_stays_the_same_graph_on_permuted_nodes(num_items: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    neighbours = np.stack([rng.permutation(num_items)[:2] for _ in range(num_items)])
    neighbours[rng.random(neighbours.shape) < 0.2] = -1
    weights = np.where(neighbours < 0, 0, rng.random(neighbours.shape)).astype(np.float32)
    source = deal(num_items, seed)
    assert sorted(source) == list(range(num_items))
    graph = shuffle_graph(neighbours, weights, source)

    def edges(
        heads: np.ndarray, tails: np.ndarray, values: np.ndarray
    ) -> set[tuple[int, int, float]]:  # in the names of the old items
        return {
            (int(head), int(tail), float(value))
            for head, row, own in zip(heads, tails, values, strict=True)
            for tail, value in zip(row, own, strict=True)
            if tail >= 0
        }

    old_names = np.where(graph.neighbours < 0, -1, source[graph.neighbours])
    assert edges(source, old_names, graph.weights) == edges(np.arange(num_items), neighbours, weights)


def test_one_permutation_moves_all_modalities_and_no_pair(old: Dataset, tmp_path: Path) -> None:
    new = shuffle_content(old, tmp_path / "new", seed=4)
    before, after = old.prepare(), new.prepare()
    source = torch.from_numpy(deal(ITEMS, 4))
    expected = permute_items(before.corpus, torch.argsort(source))
    for modality, moved in zip(after.corpus.modalities, expected.modalities, strict=True):
        assert modality.name == moved.name
        assert modality.present.equal(moved.present)
        assert modality.features is not None
        assert moved.features is not None
        assert modality.features.equal(moved.features)
        assert not modality.features.equal(features_of(before, modality.name))
        assert (modality.graph is None) == (moved.graph is None)
        if modality.graph is not None and moved.graph is not None:
            assert modality.graph.neighbours.equal(moved.graph.neighbours)
            assert modality.graph.weights.equal(moved.graph.weights)
    for part in ("valid", "test"):
        assert getattr(after, part).users.equal(getattr(before, part).users)
        assert getattr(after, part).items.equal(getattr(before, part).items)
    assert after.corpus.train.items.equal(before.corpus.train.items)
    assert after.split_hash == before.split_hash
    assert after.dataset_hash != before.dataset_hash


def features_of(prepared: Prepared, name: str) -> torch.Tensor:
    (features,) = (one.features for one in prepared.corpus.modalities if one.name == name)
    assert features is not None
    return features


def test_events_splits_and_catalogue_stay_to_the_byte_and_so_does_the_old_folder(
    old: Dataset, tmp_path: Path
) -> None:
    before = bytes_of(old)
    new = shuffle_content(old, tmp_path / "new")
    assert bytes_of(old) == before
    assert bytes_of(new).keys() == before.keys()
    same = {name for name, content in bytes_of(new).items() if content == before[name]}
    assert same >= set(KEPT)
    assert not same & {"features/text.npy", "features/image.npy", "graphs/image.npz", "summary.md"}
    assert Dataset.open(new.path).manifest_hash == new.manifest_hash


def test_the_seed_decides_and_the_manifest_tells_it(old: Dataset, tmp_path: Path) -> None:
    first, again, other = (
        shuffle_content(old, tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first.manifest_hash == again.manifest_hash
    assert bytes_of(first) == bytes_of(again)
    assert not features_of(first.prepare(), "text").equal(features_of(other.prepare(), "text"))
    manifest = first.manifest
    assert (manifest.shuffle_seed, manifest.parent) == (1, old.manifest_hash)
    assert (manifest.options, manifest.counts, manifest.splits, manifest.modalities) == (
        old.manifest.options,
        old.manifest.counts,
        old.manifest.splits,
        old.manifest.modalities,
    )
    left = int((deal(ITEMS, 1) == np.arange(ITEMS)).sum())
    assert manifest.report.findings[0].message.startswith(
        f"content of 12 items of the dataset {old.manifest_hash[:12]} dealt anew among them with seed 1, "
        f"which left that of {left} item"
    )
    assert manifest.report.findings[1:] == old.manifest.report.findings


def test_it_says_wherever_it_is_shown_that_it_is_shuffled(old: Dataset, tmp_path: Path) -> None:
    line = "**Shuffled: features and graphs dealt anew among the items (seed 7), as a control.**"
    new = shuffle_content(old, tmp_path / "new", seed=7)
    assert line in describe(new.manifest).splitlines()
    assert "**Synthetic: made by a program, not by people.**" in describe(new.manifest)
    assert line in (new.path / "summary.md").read_text().splitlines()
    assert "Shuffled" not in describe(old.manifest)
    assert "shuffle_seed" not in (old.path / "manifest.json").read_text()


def test_what_is_made_of_it_says_so_too(old: Dataset, write: Write, tmp_path: Path) -> None:
    new = shuffle_content(old, tmp_path / "new", seed=7)
    more = append_events(new, tmp_path / "more", write("more.csv", "user,item,rating,part\nz,i01,5,train\n"))
    assert (more.manifest.shuffle_seed, more.manifest.parent) == (7, new.manifest_hash)
    told = "left out, since the format has no place for it: that the features are shuffled (seed 7)"
    assert told in export_to(new, tmp_path / "exported", "mmrec")
    assert told not in export_to(old, tmp_path / "plain", "mmrec")


def test_a_dataset_without_content_or_shuffled_already_is_refused(
    old: Dataset, write: Write, tmp_path: Path
) -> None:
    bare = build(tmp_path / "bare", Sources(events=write("events.csv", "user,item\na,1\na,2\nb,1\n")))
    with pytest.raises(
        DataError,
        match=r"^expected a dataset with features or graphs to shuffle, but .*bare has none; build it with --features",
    ):
        shuffle_content(bare, tmp_path / "new")
    once = shuffle_content(old, tmp_path / "once", seed=3)
    with pytest.raises(
        DataError,
        match=r"^expected .* its own items, but .*once is shuffled already \(seed 3\); shuffle the one",
    ):
        shuffle_content(once, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_seed_that_moves_nothing_or_is_below_zero_is_refused(write: Write, tmp_path: Path) -> None:
    np.save(tmp_path / "text.npy", np.ones((1, 2), dtype=np.float32))
    sources = Sources(
        events=write("events.csv", "user,item\na,1\nb,1\n"),
        items=write("items.csv", "item\n1\n"),
        features={"text": tmp_path / "text.npy"},
    )
    single = build(tmp_path / "single", sources)
    with pytest.raises(
        ConfigError, match=r"^expected a seed that moves content, but 0 leaves that of 1 item"
    ):
        shuffle_content(single, tmp_path / "new")
    with pytest.raises(ConfigError, match=r"^seed must be at least 0, got -1$"):
        shuffle_content(single, tmp_path / "new", seed=-1)


def test_what_stands_at_out_stays_unless_it_may_be_overwritten(old: Dataset, tmp_path: Path) -> None:
    shuffle_content(old, tmp_path / "new")
    with pytest.raises(DataError, match=r"^expected a new folder, but .*new exists; choose another or pass"):
        shuffle_content(old, tmp_path / "new", seed=1)
    assert shuffle_content(old, tmp_path / "new", seed=1, overwrite=True).manifest.shuffle_seed == 1
    with pytest.raises(DataError, match=r"^expected a new folder, but .*old is what it is to be made of"):
        shuffle_content(old, old.path, overwrite=True)


def test_a_place_inside_the_dataset_is_refused_and_nothing_is_written(old: Dataset, tmp_path: Path) -> None:
    before = bytes_of(old)
    with pytest.raises(
        DataError, match=r"^expected a new folder outside the dataset .*, got .*; choose another$"
    ):
        shuffle_content(old, old.path / "control", seed=0)
    assert bytes_of(old) == before
    assert not (old.path / "control").exists()
