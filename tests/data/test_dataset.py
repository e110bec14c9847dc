from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fuserec.data.build import Sources, build
from fuserec.data.dataset import Dataset
from fuserec.data.schema import BuildOptions
from fuserec.errors import ConfigError, DataError

Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def dataset(write: Write, tmp_path: Path) -> Dataset:
    """User 7: items a (train), b (valid), c (test); user 12: items c, a (train). Item d is cold."""
    events = (
        "user,item,time,one,two\n7,c,3,test,train\n7,a,1,train,test\n7,b,2,valid,train\n12,c,1,train,train\n"
    )
    np.save(tmp_path / "image.npy", np.array([[1, 0.5], [0, 0], [3, 3], [4, 4]], dtype=np.float16))
    neighbours = np.array([[1, -1], [0, 2], [-1, -1], [2, 1]], dtype=np.int32)
    np.savez(tmp_path / "image.npz", neighbours=neighbours, weights=np.full((4, 2), 0.5))
    np.savez(tmp_path / "text.npz", neighbours=neighbours, weights=np.full((4, 2), 0.25))
    sources = Sources(
        events=write("events.csv", events + "12,a,5,train,train\n"),
        items=write("items.csv", "item,title\na,A\nb,B\nc,C\nd,D\n"),
        features={"image": tmp_path / "image.npy"},
        graphs={"image": tmp_path / "image.npz", "text": tmp_path / "text.npz"},
    )
    return build(tmp_path / "data", sources, BuildOptions(split_columns=("one", "two")))


def test_a_dataset_opens_as_it_was_built(dataset: Dataset) -> None:
    opened = Dataset.open(str(dataset.path))
    assert opened.manifest == dataset.manifest
    assert opened.manifest_hash == dataset.manifest_hash
    assert (opened.num_users, opened.num_items, opened.repeats) == (2, 4, False)
    assert opened.splits == ("one", "two")


def test_prepare_gives_rows_in_the_order_of_the_events(dataset: Dataset) -> None:
    prepared = dataset.prepare("one")
    assert prepared.corpus.train.users.tolist() == [0, 1, 1]
    assert prepared.corpus.train.items.tolist() == [0, 2, 0]
    assert (prepared.valid.users.tolist(), prepared.valid.items.tolist()) == ([0], [1])
    assert (prepared.test.users.tolist(), prepared.test.items.tolist()) == ([0], [2])
    assert (prepared.corpus.num_users, prepared.corpus.num_items) == (2, 4)
    assert (prepared.split, prepared.repeats, prepared.dataset_hash) == ("one", False, dataset.manifest_hash)


def test_the_hash_of_a_split_is_that_of_its_pairs(dataset: Dataset) -> None:
    prepared = dataset.prepare("one")
    arrays = [[0, 1, 1], [0, 2, 0], [0], [1], [0], [2]]
    expected = hashlib.sha256(b"".join(np.array(array, dtype="<i8").tobytes() for array in arrays))
    assert prepared.split_hash == expected.hexdigest()
    assert prepared.split_hash != dataset.prepare("two").split_hash


def test_modalities_become_tensors(dataset: Dataset) -> None:
    image, text = dataset.prepare("one").corpus.modalities
    assert (image.name, text.name) == ("image", "text")
    assert image.features is not None
    assert image.features.dtype.is_floating_point
    assert image.features.element_size() == 4
    assert image.features.tolist() == [[1, 0.5], [0, 0], [3, 3], [4, 4]]
    assert image.present.tolist() == [True, False, True, True]
    assert image.graph is not None
    assert image.graph.neighbours.tolist() == [[1, -1], [0, 2], [-1, -1], [2, 1]]
    assert image.graph.weights.tolist() == [[0.5, 0], [0.5, 0.5], [0, 0], [0.5, 0.5]]
    assert text.features is None
    assert text.present.tolist() == [True, True, False, True]


def test_several_splits_need_a_name(dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match=r"expected the name of a split, since .* has several: one, two"):
        dataset.prepare()
    with pytest.raises(ConfigError, match=r"no split 'ones' in .*; did you mean 'one'\?"):
        dataset.prepare("ones")


def test_the_only_split_needs_no_name(write: Write, tmp_path: Path) -> None:
    dataset = build(tmp_path / "data", Sources(events=write("e.csv", "user,item\na,1\na,2\na,3\n")))
    assert dataset.prepare().split == "leave-one-out"


def test_kept_repeats_reach_training(write: Write, tmp_path: Path) -> None:
    events = write("e.csv", "user,item,split\na,1,train\na,1,train\na,1,test\n")
    prepared = build(tmp_path / "data", Sources(events=events), BuildOptions(repeats="keep")).prepare()
    assert prepared.repeats
    assert (len(prepared.corpus.train), len(prepared.test)) == (2, 1)
    dropped = build(tmp_path / "other", Sources(events=events)).prepare()
    assert (len(dropped.corpus.train), len(dropped.test)) == (1, 0)


def rewrite(dataset: Dataset, **changes: Any) -> None:
    place = dataset.path / "manifest.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), **changes}))


@pytest.mark.parametrize(
    "name", ["interactions.parquet", "features/image.npy", "graphs/text.npz", "summary.md"]
)
def test_a_changed_byte_is_found(dataset: Dataset, name: str) -> None:
    file = dataset.path / name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(DataError, match=rf"expected .*{name} as it was built, but it was changed or removed"):
        Dataset.open(dataset.path)


def test_a_file_that_is_gone_or_cut_short_is_found_even_without_verifying(dataset: Dataset) -> None:
    file = dataset.path / "features" / "image.npy"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"image.npy as it was built"):
        Dataset.open(dataset.path, verify=False)
    file.unlink()
    with pytest.raises(DataError, match=r"image.npy as it was built"):
        Dataset.open(dataset.path, verify=False)


def test_a_newer_format_is_refused(dataset: Dataset) -> None:
    rewrite(dataset, format_version=9, oldest_readable=8, something_new=1)
    with pytest.raises(
        DataError, match=r"expected a dataset of format 1 or older, but .* of format 9; upgrade"
    ):
        Dataset.open(dataset.path)


def test_an_ancient_format_is_refused(dataset: Dataset) -> None:
    rewrite(dataset, format_version=0, oldest_readable=0)
    with pytest.raises(
        DataError, match=r"expected a dataset of format 1 or newer, but .* is of format 0; build"
    ):
        Dataset.open(dataset.path)


def test_a_newer_format_that_this_reader_can_read_is_read(dataset: Dataset) -> None:
    rewrite(dataset, format_version=2, something_new=1)
    assert Dataset.open(dataset.path).manifest.format_version == 2


def test_what_is_no_dataset_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a dataset folder, but .*nowhere does not exist"):
        Dataset.open(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"expected a dataset folder, but .*events.csv is a file"):
        Dataset.open(tmp_path / "events.csv")
    with pytest.raises(DataError, match=r"expected a dataset folder, but .* holds no manifest.json"):
        Dataset.open(tmp_path)
    rewrite(dataset, format="something else")
    with pytest.raises(DataError, match=r"manifest.json is that of something else"):
        Dataset.open(dataset.path)


def test_a_broken_manifest_is_refused_in_one_line(dataset: Dataset) -> None:
    rewrite(dataset, counts={"users": "many"})
    with pytest.raises(
        DataError, match=r"expected the manifest of a dataset in .*manifest.json, got: counts"
    ) as caught:
        Dataset.open(dataset.path)
    assert "\n" not in str(caught.value)
    (dataset.path / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"expected JSON in .*manifest.json"):
        Dataset.open(dataset.path)


@pytest.mark.parametrize(
    "edit",
    [
        lambda value: value["files"].update({"features/../../victim": value["files"]["items.parquet"]}),
        lambda value: value["files"].update({"/etc/hostname": value["files"]["items.parquet"]}),
        lambda value: value["modalities"].update({"../../victim": value["modalities"]["image"]}),
        lambda value: value["modalities"]["image"]["features"].update(stem="../../victim"),
    ],
)
def test_a_manifest_that_names_files_outside_the_folder_is_refused(
    dataset: Dataset, edit: Callable[[dict[str, Any]], None]
) -> None:
    file = dataset.path / "manifest.json"
    value = json.loads(file.read_text())
    edit(value)
    file.write_text(json.dumps(value))
    with pytest.raises(DataError, match="expected the manifest of a dataset") as caught:
        Dataset.open(dataset.path)
    assert "got '" in str(caught.value)
    assert "\n" not in str(caught.value)
