"""New items get the rows that they would have had in the dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.features.conftest import build_shop, draw, draw_photos

from fuserec.data import Dataset
from fuserec.data.append import append_events
from fuserec.errors import ConfigError, DataError
from fuserec.features.job import make_features
from fuserec.features.new_items import encode_items
from fuserec.features.tasks import Asked


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_photos(tmp_path_factory.mktemp("shop") / "photos")


@pytest.fixture(scope="module")
def made(photos: Path) -> Dataset:
    """Tests only read it."""
    shop = build_shop(photos.with_name("shop"), photos.parent)
    return make_features(shop, Asked(images=photos, numbers={"price": "price"})).dataset


def test_items_of_the_dataset_get_the_rows_that_they_have(made: Dataset, photos: Path) -> None:
    found = encode_items(made, made.items, images=photos)
    assert set(found.rows) == {"category", "image", "price"}
    for name, rows in found.rows.items():
        np.testing.assert_array_equal(rows, made.feature_array(name))
        np.testing.assert_array_equal(found.present[name], made.feature_array(name, "present"))


def test_what_is_new_goes_by_the_dataset_and_what_is_not_understood_is_told(made: Dataset) -> None:
    new = pl.DataFrame(
        {"item_id": ["n1", "n2"], "category": ["sea|cave", "cave"], "price": ["2.50", "2,50"]},
    )
    found = encode_items(made, new)
    assert set(found.rows) == {"category", "price"}, "without a folder there are no pictures"
    np.testing.assert_array_equal(found.rows["price"][0], made.feature_array("price")[1])
    assert found.present["price"].tolist() == [True, False]
    assert found.present["category"].tolist() == [True, False]
    told = [(one.item_id, one.message) for name in found.told for one in found.told[name]]
    assert told == [
        ("n1", "no column for 'cave'"),
        ("n2", "no column for 'cave', and it has no other category"),
        ("n2", "expected a number with a decimal point, as most of the column, got '2,50'"),
    ]


def test_a_new_picture_is_projected_as_those_of_the_dataset(made: Dataset, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    draw(tmp_path / "more" / "n1.png", 2)
    (tmp_path / "more" / "n2.png").write_bytes(b"")
    new = pl.DataFrame({"item_id": ["n1", "n2", "n3"]})
    found = encode_items(made, new, images=tmp_path / "more")
    np.testing.assert_array_equal(found.rows["image"][0], made.feature_array("image")[2])
    assert found.present["image"].tolist() == [True, False, False]
    assert [(one.item_id, one.lost) for one in found.told["image"]] == [("n3", True), ("n2", True)]


def test_another_encoder_is_refused(made: Dataset, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuserec.features.encoders.PROJECTION_VERSION", 99)
    with pytest.raises(ConfigError, match="expected the encoder of the image features in"):
        encode_items(made, made.items, images=photos)


def test_features_that_are_older_than_the_catalogue_are_refused(made: Dataset, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("user,item,time\nu0,i8,500\n")
    (tmp_path / "new.csv").write_text("item,category,price\ni8,hill,3.20\n")
    grown = append_events(made, tmp_path / "grown", tmp_path / "more.csv", items=tmp_path / "new.csv")
    with pytest.raises(DataError, match="to be those of its catalogue, but items were added since"):
        encode_items(grown, grown.items)
