from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fuserec.data import Dataset
from fuserec.data.mmrec import import_mmrec
from fuserec.errors import ConfigError, DataError

LOG = """userID\titemID\trating\ttimestamp\tx_label
0\t2\t5.0\t30\t0
0\t0\t4.0\t10\t0
1\t0\t1.0\t20\t2
1\t2\t3.0\t40\t0
0\t1\t2.0\t50\t1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two users and four items, the last of them without an event."""
    place = tmp_path / "toys"
    place.mkdir()
    (place / "toys.inter").write_text(LOG)
    np.save(place / "image_feat.npy", np.array([[1, 0], [0, 1], [0, 0], [2, 2]], dtype=np.float64))
    np.save(place / "text_feat.npy", np.array([[1], [2], [3], [4]], dtype=np.float32))
    return place


def pairs(dataset: Dataset, part: str) -> set[tuple[object, object]]:
    """The pairs of a part, in original ids."""
    frame = dataset.interactions()
    parts = pl.read_parquet(dataset.path / "splits" / "x_label.parquet")["part"].cast(pl.String)
    frame = frame.filter(parts == part)
    users, items = dataset.user_ids.gather(frame["user"]), dataset.item_ids.gather(frame["item"])
    return set(zip(users.to_list(), items.to_list(), strict=True))


def test_the_folder_becomes_a_dataset_with_its_split_and_features(folder: Path, tmp_path: Path) -> None:
    dataset = import_mmrec(folder, tmp_path / "out")
    assert Dataset.open(tmp_path / "out").manifest_hash == dataset.manifest_hash
    assert dataset.splits == ("x_label",)
    assert pairs(dataset, "train") == {(0, 2), (0, 0), (1, 2)}
    assert pairs(dataset, "valid") == {(0, 1)}
    assert pairs(dataset, "test") == {(1, 0)}
    assert dataset.item_ids.to_list() == [0, 1, 2, 3]
    assert dataset.interactions()["time"].to_list() == [10, 20, 30, 40, 50]
    assert dataset.interactions()["rating"].to_list() == [4, 1, 5, 3, 2]
    assert dataset.interactions()["line"].to_list() == [3, 4, 2, 5, 6]
    assert sorted(dataset.manifest.modalities) == ["image", "text"]
    assert np.load(dataset.path / "features" / "text.npy", allow_pickle=False).tolist() == [
        [1],
        [2],
        [3],
        [4],
    ]
    image, _ = dataset.prepare().corpus.modalities
    assert image.present.tolist() == [True, True, False, True]


def test_the_manifest_names_the_files_of_mmrec(folder: Path, tmp_path: Path) -> None:
    sources = import_mmrec(folder, tmp_path / "out").manifest.sources
    assert {role: entry.name for role, entry in sources.items()} == {
        "events": "toys.inter",
        "features/image": "image_feat.npy",
        "features/text": "text_feat.npy",
    }
    assert sources["events"].bytes == len(LOG)


@pytest.mark.parametrize("separator", ["\t", ","])
def test_mapping_files_give_the_original_ids_back(folder: Path, tmp_path: Path, separator: str) -> None:
    items = [["itemID", "asin"], ["3", "B3"], ["0", "B0"], ["1", "B1"], ["2", "B2"]]
    users = [["user_id", "userID"], ["zoe", "0"], ["ann", "1"], ["eve", "2"]]
    for name, rows in (("i_id_mapping.csv", items), ("u_id_mapping.csv", users)):
        (folder / name).write_text("\n".join(separator.join(row) for row in rows) + "\n")
    dataset = import_mmrec(folder, tmp_path / "out")
    assert dataset.item_ids.to_list() == ["B0", "B1", "B2", "B3"]
    assert dataset.user_ids.to_list() == ["ann", "zoe"]
    assert pairs(dataset, "train") == {("zoe", "B2"), ("zoe", "B0"), ("ann", "B2")}
    assert dataset.manifest.sources["items"].name == "i_id_mapping.csv"


def test_without_features_the_items_are_those_up_to_the_greatest_number(folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("*_feat.npy"):
        path.unlink()
    dataset = import_mmrec(folder, tmp_path / "out")
    assert (dataset.num_items, dataset.manifest.modalities) == (3, {})


def test_rejected_rows_are_told_with_the_line_of_mmrecs_file(folder: Path, tmp_path: Path) -> None:
    (folder / "toys.inter").write_text(LOG.replace("0\t1\t2.0\t50\t1", "\n0\t0\t2.0\t50\t0\n0\t1\t\t\t1"))
    dataset = import_mmrec(folder, tmp_path / "out")
    told = [finding.line() for finding in dataset.manifest.report.findings if finding.rejected]
    assert told == [
        "1 event left out: a duplicate of an earlier event (toys.inter:7)",
        "1 event left out: a missing time (toys.inter:8)",
    ]
    assert pl.read_parquet(dataset.path / "rejected.parquet")["line"].to_list() == [7, 8]
    kept = import_mmrec(folder, tmp_path / "all", repeats="keep")
    assert kept.manifest.report.events_rejected == 1


@pytest.mark.parametrize("pickled", ["array of objects", "plain pickle"])
def test_pickled_features_are_refused_in_one_line(folder: Path, tmp_path: Path, pickled: str) -> None:
    path = folder / "image_feat.npy"
    if pickled == "plain pickle":
        path.write_bytes(b"\x80\x04\x95\x00\x00.")
    else:
        buffer = io.BytesIO()
        np.save(buffer, np.array([None] * 4, dtype=object), allow_pickle=True)
        path.write_bytes(buffer.getvalue())
    with pytest.raises(
        DataError, match=r"image_feat\.npy, got pickled objects, which are never loaded"
    ) as told:
        import_mmrec(folder, tmp_path / "out")
    assert "\n" not in str(told.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("x_label\n", "label\n", r"expected the columns userID, itemID and x_label in .*toys\.inter"),
        ("userID\titemID", "user_id:token\titem_id:token", "typed ones of RecBole"),
        ("40\t0", "40\t3", r"expected 0 \(train\), 1 \(valid\) or 2 \(test\).*got '3' \(toys\.inter:5\)"),
        (
            "1\t2\t3.0",
            "-1\t2\t3.0",
            r"expected numbers from 0 in the column 'userID'.*got '-1' \(toys\.inter:5\)",
        ),
        ("1\t2\t3.0", "\t2\t3.0", r"column 'userID' of .*got None \(toys\.inter:5\)"),
        ("1\t2\t3.0", "1\t900000000\t3.0", "expected itemID to count from 0 without wide gaps"),
        ("1\t2\t3.0", "1\t4\t3.0", r"expected 5 rows in .*_feat\.npy, one for every item .*got 4"),
        (LOG.partition("\n")[2], "", "expected at least one event in .*toys.inter, found none"),
    ],
)
def test_what_is_wrong_with_the_log_is_told(
    folder: Path, tmp_path: Path, old: str, new: str, told: str
) -> None:
    assert old in LOG
    (folder / "toys.inter").write_text(LOG.replace(old, new))
    with pytest.raises(DataError, match=told):
        import_mmrec(folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "asin\titemID\nB0\t0\nB1\t1\nB2\t2\n",
            "expected every itemID from 0 to 3 once in .* got 3 rows with 3",
        ),
        ("asin\titemID\nB0\t0\nB1\t1\nB2\t2\nB3\t2\n", "got 4 rows with 3 different ones"),
        ("asin\titemID\nB0\t0\nB0\t1\nB2\t2\nB3\t3\n", "expected an original id, each once"),
        (
            "asin\tnumber\nB0\t0\n",
            "expected 'itemID' and a column of original ids in .*found 'asin', 'number'",
        ),
    ],
)
def test_what_is_wrong_with_a_mapping_is_told(folder: Path, tmp_path: Path, text: str, told: str) -> None:
    (folder / "i_id_mapping.csv").write_text(text)
    with pytest.raises(DataError, match=told):
        import_mmrec(folder, tmp_path / "out")


def test_matrices_of_different_length_are_refused(folder: Path, tmp_path: Path) -> None:
    np.save(folder / "text_feat.npy", np.ones((3, 1), dtype=np.float32))
    with pytest.raises(DataError, match=r"expected 4 rows in .*text_feat\.npy"):
        import_mmrec(folder, tmp_path / "out")


def test_the_folder_must_hold_one_log(folder: Path, tmp_path: Path) -> None:
    (folder / "more.inter").write_text(LOG)
    with pytest.raises(DataError, match=r"expected one \.inter file in .*, found more\.inter, toys\.inter"):
        import_mmrec(folder, tmp_path / "out")
    with pytest.raises(DataError, match=r"expected a folder of MMRec, but .*nowhere does not exist"):
        import_mmrec(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(ConfigError, match="expected repeats to be drop or keep"):
        import_mmrec(folder, tmp_path / "out", repeats="perhaps")


def test_nothing_that_stands_there_is_replaced_unasked(folder: Path, tmp_path: Path) -> None:
    first = import_mmrec(folder, tmp_path / "out")
    with pytest.raises(DataError, match="pass --overwrite"):
        import_mmrec(folder, tmp_path / "out")
    assert import_mmrec(folder, tmp_path / "out", overwrite=True).manifest_hash == first.manifest_hash
    with pytest.raises(DataError, match="is what it is to be made of; choose another"):
        import_mmrec(folder, folder, overwrite=True)
