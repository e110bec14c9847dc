"""Content becomes features in the dataset: taken over, continued, published whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.features.conftest import ITEMS, build_shop, draw, files, line

from fuserec.content.encoder import Encoded
from fuserec.content.pictures.descriptor import Descriptor
from fuserec.data import Dataset
from fuserec.data.append import append_events
from fuserec.data.build import Sources, build
from fuserec.data.shuffled import shuffle_content
from fuserec.errors import CheckpointError, ConfigError, DataError
from fuserec.features.job import make_features
from fuserec.features.store import read_told
from fuserec.features.tasks import Asked
from fuserec.index.addition import add_items
from fuserec.index.build import load
from fuserec.training.config import parse_recipe
from fuserec.training.run import train


def test_every_modality_has_a_matrix_a_mask_and_a_description(shop: Dataset, photos: Path) -> None:
    outcome = make_features(shop, Asked(images=photos, numbers={"price": "price"}))
    dataset = Dataset.open(shop.path)
    assert dataset.manifest_hash == outcome.dataset.manifest_hash
    assert list(dataset.manifest.modalities) == ["category", "image", "price"]
    for name, present in (("category", ITEMS), ("image", ITEMS - 1), ("price", ITEMS)):
        entry = dataset.manifest.modalities[name].features
        assert entry is not None
        assert entry.present == present
        matrix, mask = dataset.feature_array(name), dataset.feature_array(name, "present")
        assert matrix.shape == (ITEMS, entry.width)
        assert isinstance(matrix, np.memmap)
        assert mask.sum() == present
        assert (matrix.any(axis=1) == mask).all()
        assert entry.encoder is not None
        assert entry.encoder.options
        assert len(entry.encoder.inputs) == 64
    assert [modality.name for modality in dataset.prepare().corpus.modalities] == [
        "category",
        "image",
        "price",
    ]


def test_a_missing_picture_is_told_with_its_item(shop: Dataset, photos: Path) -> None:
    outcome = make_features(shop, Asked(images=photos, only=("image",)))
    assert [(one.item_id, one.kind, one.lost) for one in outcome.told["image"]] == [("i7", "missing", True)]
    assert read_told(outcome.dataset, "image") == list(outcome.told["image"])
    assert line(outcome, "image").problems == {"missing": 1}


def test_a_second_run_changes_no_byte_and_encodes_nothing(shop: Dataset, photos: Path) -> None:
    asked = Asked(images=photos, numbers={"price": "price"})
    first = make_features(shop, asked).dataset
    before = files(first)
    again = make_features(first, asked)
    assert files(first) == before
    assert [(one.encoded, one.changed) for one in again.lines] == [(0, False)] * 3
    assert [one.kind for one in again.told["image"]] == ["missing"], "what was told is told again"


def test_only_what_changed_is_encoded_again(
    shop: Dataset, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(images=photos, only=("image",))
    first = make_features(shop, asked).dataset
    raw = np.array(first.feature_array("image", "raw"))
    draw(photos / "i2.png", 99)
    draw(photos / "i7.png", 7)
    (photos / "i3.png").write_bytes(b"")
    seen: list[Path] = []
    encode: Callable[..., Encoded] = Descriptor.encode

    def watched(self: Descriptor, inputs: Sequence[Any]) -> Encoded:
        seen.extend(inputs)
        return encode(self, inputs)

    monkeypatch.setattr(Descriptor, "encode", watched)
    outcome = make_features(first, asked)
    assert sorted(path.name for path in seen) == ["i2.png", "i3.png", "i7.png"]
    assert (line(outcome, "image").encoded, line(outcome, "image").taken) == (3, 5)
    new = outcome.dataset.feature_array("image", "raw")
    same = [0, 1, 4, 5, 6]
    assert (new[same] == raw[same]).all()
    assert (new[2] != raw[2]).any()
    assert outcome.dataset.feature_array("image", "present").tolist() == [True] * 3 + [False] + [True] * 4


def test_features_are_a_function_of_the_inputs_and_not_of_the_runs(
    shop: Dataset, photos: Path, tmp_path: Path
) -> None:
    asked = Asked(images=photos)
    draw(photos / "i2.png", 99)
    once = make_features(build_shop(tmp_path / "once", tmp_path), asked).dataset
    draw(photos / "i2.png", 2)
    first = make_features(shop, asked).dataset
    draw(photos / "i2.png", 99)
    twice = make_features(first, asked).dataset
    for part in ("", "present", "raw", "inputs"):
        assert twice.feature_array("image", part).tobytes() == once.feature_array("image", part).tobytes()


def test_the_same_picture_under_two_names_is_encoded_once(shop: Dataset, photos: Path) -> None:
    shutil.copy(photos / "i0.png", photos / "i7.png")
    outcome = make_features(shop, Asked(images=photos, only=("image",)))
    assert line(outcome, "image").encoded == ITEMS - 1
    rows = outcome.dataset.feature_array("image")
    assert (rows[0] == rows[7]).all()


def test_a_broken_picture_is_not_read_again_but_told_again(
    shop: Dataset, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "i1.png").write_text("no picture at all, but letters")
    asked = Asked(images=photos, only=("image",))
    first = make_features(shop, asked)
    broken = [one for one in first.told["image"] if one.item_id == "i1"]
    assert [(one.source, one.lost) for one in broken] == [("i1.png", True)]
    draw(photos / "i2.png", 99)
    monkeypatch.setattr(
        Descriptor,
        "batches",
        lambda self, inputs: [np.array([0])] if [path.name for path in inputs] == ["i2.png"] else 1 / 0,
    )
    second = make_features(first.dataset, asked)
    assert [one for one in second.told["image"] if one.item_id == "i1"] == broken


def test_an_interrupted_run_leaves_the_dataset_and_goes_on_to_the_same_bytes(
    shop: Dataset, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(images=photos, numbers={"price": "price"})
    whole = files(make_features(build_shop(tmp_path / "whole", tmp_path), asked).dataset)
    before = files(shop)
    batches, calls = Descriptor.batches, []
    encode: Callable[..., Encoded] = Descriptor.encode

    def one_by_one(self: Descriptor, inputs: Sequence[Any]) -> list[Any]:
        return [np.array([position]) for position in range(len(inputs))]

    def interrupted(self: Descriptor, inputs: Sequence[Any]) -> Encoded:
        calls.append(inputs)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return encode(self, inputs)

    monkeypatch.setattr(Descriptor, "batches", one_by_one)
    monkeypatch.setattr(Descriptor, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt, match="what was encoded is kept"):
        make_features(shop, asked)
    assert {name: content for name, content in files(shop).items() if ".work" not in name} == before
    Dataset.open(shop.path)
    resumed = make_features(shop, asked).dataset
    assert len(calls) == 4 + (ITEMS - 1 - 3)
    monkeypatch.setattr(Descriptor, "batches", batches)
    assert files(resumed) == whole


def test_a_run_that_was_trained_before_still_recommends_and_takes_no_new_items(
    shop: Dataset, photos: Path, tmp_path: Path
) -> None:
    dataset = make_features(shop, Asked(images=photos)).dataset
    assert dataset.manifest.ancestors == (shop.manifest_hash,)
    recipe = parse_recipe({"model": {"name": "content_knn"}, "evaluation": {"cutoffs": [2]}})
    run = train(recipe, dataset.prepare(), tmp_path / "run", dataset=str(dataset.path))
    told = load(run.path).recommend(k=3)
    again = make_features(dataset, Asked(images=photos, numbers={"price": "price"})).dataset
    assert again.manifest.ancestors == (shop.manifest_hash, dataset.manifest_hash)
    draw(photos / "i7.png", 7)
    last = make_features(again, Asked(images=photos)).dataset
    assert load(run.path).recommend(k=3).equals(told)
    (tmp_path / "new.csv").write_text("item,category\nn1,sea\n")
    with pytest.raises(CheckpointError, match="or has got other features since; train again"):
        add_items(run, last, tmp_path / "new.csv")


def test_ready_features_are_replaced_only_when_that_is_asked_for(
    shop: Dataset, photos: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "rows.npy", np.eye(ITEMS, 3, dtype=np.float32))
    made = make_features(shop, Asked(vectors={"looks": tmp_path / "rows.npy"}, only=("looks",)))
    assert made.dataset.feature_array("looks").tolist() == np.eye(ITEMS, 3).tolist()
    assert line(made, "looks").present == 3
    ready = build(
        tmp_path / "ready",
        Sources(
            events=tmp_path / "events.csv",
            items=tmp_path / "items.csv",
            features={"image": tmp_path / "rows.npy"},
        ),
    )
    asked = Asked(images=photos, only=("image",))
    with pytest.raises(ConfigError, match="expected no ready features of the name 'image' in"):
        make_features(ready, asked)
    assert Dataset.open(ready.path).feature_array("image").shape == (ITEMS, 3)
    replaced = make_features(ready, replace(asked, overwrite=True)).dataset
    assert (
        Dataset.open(ready.path).feature_array("image").tolist() == replaced.feature_array("image").tolist()
    )
    assert not (ready.path / "features" / "image.npy").exists()
    with pytest.raises(ConfigError, match="expected every modality once, but 'image' is made in two ways"):
        make_features(made.dataset, Asked(images=photos, vectors={"image": tmp_path / "rows.npy"}))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (Asked(numbers={"cost": "cost"}), r"expected the column 'cost' \(--number\) among the items"),
        (Asked(only=("pictures",)), "no 'pictures' to make of"),
        (Asked(only=("image",)), "pass --images with the folder of the pictures"),
        (Asked(images=Path("nowhere")), "nowhere"),
        (Asked(image="clasical", images=Path()), "no model 'clasical'"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_written(
    shop: Dataset, asked: Asked, told: str
) -> None:
    before = files(shop)
    with pytest.raises((ConfigError, DataError), match=told):
        make_features(shop, asked)
    assert files(shop) == before


def test_a_folder_without_any_picture_is_told_and_changes_nothing(shop: Dataset, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="expected at least one item with image to encode, found none"):
        make_features(shop, Asked(images=tmp_path / "empty"))
    assert Dataset.open(shop.path).manifest.modalities == {}


def test_a_ready_graph_that_stays_beside_new_features_is_told(
    shop: Dataset, photos: Path, tmp_path: Path
) -> None:
    neighbours = np.array([[(item + 1) % ITEMS] for item in range(ITEMS)])
    np.savez(tmp_path / "image.npz", neighbours=neighbours, weights=np.ones((ITEMS, 1)))
    with_graph = build(
        tmp_path / "with_graph",
        Sources(
            events=tmp_path / "events.csv",
            items=tmp_path / "items.csv",
            graphs={"image": tmp_path / "image.npz"},
        ),
    )
    asked = Asked(images=photos, only=("image",))
    told = "image: the ready graph stays, and models take its neighbours rather than those by these features"
    assert told in make_features(with_graph, asked).notes
    assert Dataset.open(with_graph.path).manifest.modalities["image"].graph is not None
    assert told not in make_features(shop, asked).notes


def test_appended_items_alone_are_encoded(shop: Dataset, photos: Path, tmp_path: Path) -> None:
    asked = Asked(images=photos, numbers={"price": "price"})
    first = make_features(shop, asked).dataset
    (tmp_path / "more.csv").write_text("user,item,time\nu0,i8,500\n")
    (tmp_path / "new.csv").write_text("item,category,price\ni8,hill,3.20\n")
    draw(photos / "i8.png", 8)
    grown = append_events(first, tmp_path / "grown", tmp_path / "more.csv", items=tmp_path / "new.csv")
    assert grown.feature_array("image", "present").tolist() == [True] * 7 + [False] * 2
    outcome = make_features(grown, replace(asked, numbers={}))
    assert line(outcome, "image").encoded == 1
    assert line(outcome, "price").present == ITEMS + 1, "what was asked for once is kept up"
    assert outcome.dataset.feature_array("image", "present")[8]


def test_what_was_told_is_told_after_an_append_too(shop: Dataset, photos: Path, tmp_path: Path) -> None:
    (photos / "i1.png").write_text("no picture at all, but letters")
    asked = Asked(images=photos, only=("image",))
    first = make_features(shop, asked)
    (tmp_path / "more.csv").write_text("user,item,time\nu0,i7,500\n")
    grown = append_events(first.dataset, tmp_path / "grown", tmp_path / "more.csv")
    assert read_told(grown, "image") == list(first.told["image"])
    draw(photos / "i2.png", 99)
    outcome = make_features(grown, asked)
    assert line(outcome, "image").encoded == 1
    assert {(one.item_id, one.message) for one in outcome.told["image"]} == {
        (one.item_id, one.message) for one in first.told["image"]
    }
    assert Dataset.open(grown.path).manifest_hash == outcome.dataset.manifest_hash


def test_shuffled_content_is_no_longer_that_of_its_inputs(
    shop: Dataset, photos: Path, tmp_path: Path
) -> None:
    first = make_features(shop, Asked(images=photos)).dataset
    shuffled = shuffle_content(first, tmp_path / "shuffled")
    entry = Dataset.open(shuffled.path).manifest.modalities["image"].features
    assert entry is not None
    assert (entry.encoder, entry.stem) == (None, None)
    with pytest.raises(DataError, match="is shuffled"):
        make_features(shuffled, Asked(images=photos))


def test_what_made_the_features_makes_them_again_until_another_is_named(
    shop: Dataset, photos: Path, model: Path
) -> None:
    first = make_features(shop, Asked(images=photos, image=str(model), only=("image",))).dataset
    with pytest.raises(
        ConfigError, match="expected the folder of the model 'tiny', which made the image features"
    ):
        make_features(first, Asked(images=photos, only=("image",)))
    named = make_features(first, Asked(images=photos, image=str(model), only=("image",)))
    assert not line(named, "image").changed
    other = make_features(first, Asked(images=photos, image="classical", only=("image",)))
    assert line(other, "image").changed
    assert not line(make_features(other.dataset, Asked(images=photos, only=("image",))), "image").changed


def test_a_column_that_holds_nothing_is_told_and_stops_nothing(shop: Dataset, tmp_path: Path) -> None:
    items = pl.read_csv(tmp_path / "items.csv").with_columns(pl.lit(" ").alias("category"))
    items.write_csv(tmp_path / "items.csv")
    sources = Sources(events=tmp_path / "events.csv", items=tmp_path / "items.csv")
    dataset = build(tmp_path / "bare", sources)
    outcome = make_features(dataset, Asked(numbers={"price": "price"}))
    assert [one.modality for one in outcome.lines] == ["price"]
    assert "category: no item has any; left out" in outcome.notes
    with pytest.raises(
        DataError, match=r"expected something to encode in .*, found none: category: no item has any"
    ):
        make_features(build(tmp_path / "barer", sources), Asked())
    with pytest.raises(DataError, match="expected at least one item with category to encode"):
        make_features(build(tmp_path / "barest", sources), Asked(only=("category",)))


def test_words_in_place_of_prices_are_no_modality(shop: Dataset) -> None:
    with pytest.raises(DataError, match="expected at least one item with cost to encode"):
        make_features(shop, Asked(numbers={"cost": "category"}, only=("cost",)))
    assert Dataset.open(shop.path).manifest.modalities == {}


def test_a_picture_that_vanished_while_it_was_read_is_read_when_it_is_back(
    shop: Dataset, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(images=photos, only=("image",))
    encode: Callable[..., Encoded] = Descriptor.encode

    def late(self: Descriptor, inputs: Sequence[Any]) -> Encoded:
        (photos / "i2.png").rename(photos / ".away")
        return encode(self, inputs)

    with monkeypatch.context() as patch:
        patch.setattr(Descriptor, "encode", late)
        first = make_features(shop, asked).dataset
    assert not first.feature_array("image", "present")[2]
    (photos / ".away").rename(photos / "i2.png")
    again = make_features(first, asked)
    assert line(again, "image").encoded == 1
    assert again.dataset.feature_array("image", "present")[2]


def test_rows_of_another_version_of_a_library_are_told_where_new_ones_join_them(
    shop: Dataset, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(images=photos, only=("image",))
    with monkeypatch.context() as patch:
        patch.setattr("fuserec.features.job.version", lambda package: "0.1")
        first = make_features(shop, asked).dataset
    assert not line(make_features(first, asked), "image").changed, "a version alone makes nothing anew"
    draw(photos / "i7.png", 7)
    notes = make_features(first, asked).notes
    assert any("rows of pillow 0.1, numpy 0.1 stand beside new ones of pillow" in note for note in notes)


@pytest.mark.parametrize("device", ["meta", "gpu", "cuda:x"])
def test_a_device_that_is_none_is_refused(shop: Dataset, photos: Path, model: Path, device: str) -> None:
    with pytest.raises(ConfigError, match="expected the device cpu, cuda"):
        make_features(shop, Asked(images=photos, image=str(model), device=device))
