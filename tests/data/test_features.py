from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.data import features as features_module
from fuserec.data.features import Features, read_features
from fuserec.errors import DataError

IDS = pl.Series(["a", "b", "c"])


def read(path: Path, *, ordered: bool = True, ids: pl.Series = IDS) -> Features:
    return read_features("image", path, ids, ordered=ordered)


def values(features: Features) -> np.ndarray[Any, Any]:
    return np.concatenate(list(features.blocks()))


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_rows_without_ids_follow_the_items_file_and_zero_rows_are_absent(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", np.array([[1, 2], [0, 0], [0, 3]], dtype=np.float64))
    features = read(tmp_path / "f.npy")
    assert features.present.tolist() == [True, False, True]
    assert values(features).tolist() == [[1, 2], [0, 0], [0, 3]]
    assert features.dtype == "float32"
    assert [finding.message for finding in features.findings] == [
        "1 item without image features (no row, or a row of zeros)"
    ]
    assert not features.findings[0].refused_by_strict


def test_half_precision_stays_half_precision(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", np.ones((3, 2), dtype=np.float16))
    assert read(tmp_path / "f.npy").entry.dtype == "float16"
    assert values(read(tmp_path / "f.npy")).dtype == np.float16


def test_rows_with_ids_find_their_items(tmp_path: Path) -> None:
    path = save(
        tmp_path / "f.npz", features=np.array([[3.0], [9.0], [1.0]]), ids=np.array(["c", "unknown", "a"])
    )
    features = read(path, ordered=False)
    assert values(features).tolist() == [[1], [0], [3]]
    assert features.present.tolist() == [True, False, True]
    left_out = features.findings[0]
    assert left_out.message == "1 row of the image features left out: the id is not an item (f.npz)"
    assert left_out.refused_by_strict


def test_integer_ids_match_text_ids_only_to_the_letter(tmp_path: Path) -> None:
    path = save(tmp_path / "f.npz", features=np.ones((2, 1)), ids=np.array([7, 8]))
    assert read(path, ids=pl.Series(["7", "08"])).present.tolist() == [True, False]
    path = save(tmp_path / "g.npz", features=np.ones((2, 1)), ids=np.array(["7", "08"]))
    assert read(path, ids=pl.Series([7, 8])).present.tolist() == [True, False]


@pytest.mark.parametrize("kind", [pl.List(pl.Float32), pl.Array(pl.Float64, 2)])
def test_a_table_with_lists_is_a_matrix_and_a_missing_list_is_a_missing_item(
    tmp_path: Path, kind: pl.DataType
) -> None:
    lists = pl.Series("vector", [[1.0, 2.0], None, [3.0, 4.0]], dtype=kind)
    pl.DataFrame([pl.Series("item_id", ["b", "a", "c"]), lists]).write_parquet(tmp_path / "f.parquet")
    features = read(tmp_path / "f.parquet")
    assert values(features).tolist() == [[0, 0], [1, 2], [3, 4]]
    assert features.present.tolist() == [False, True, True]


def test_values_that_are_not_finite_are_refused_with_row_and_item(tmp_path: Path) -> None:
    matrix = np.ones((3, 2), dtype=np.float32)
    matrix[1, 1], matrix[2, 0] = np.nan, np.inf
    np.save(tmp_path / "f.npy", matrix)
    with pytest.raises(
        DataError,
        match=r"but 2 rows hold NaN or infinity: row 1 \(item 'b'\), row 2 \(item 'c'\); use a row of zeros",
    ):
        read(tmp_path / "f.npy")


def test_values_too_great_for_single_precision_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", np.full((3, 1), 1e300))
    with pytest.raises(DataError, match="expected finite float32 features"):
        read(tmp_path / "f.npy")


def test_a_row_that_is_not_finite_but_belongs_to_no_item_does_no_harm(tmp_path: Path) -> None:
    path = save(tmp_path / "f.npz", features=np.array([[1.0], [np.nan]]), ids=np.array(["a", "x"]))
    assert read(path).present.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (
            np.ones((2, 2)),
            "expected 3 rows in .*f.npy, one for every item in the order of the items file, got 2",
        ),
        (np.ones((3, 0)), "expected at least one feature an item in .*, got the shape"),
        (np.ones(3), r"expected a matrix \(items, width\) in .*, got the shape \(3,\)"),
        (
            np.ones((3, 2), dtype=int),
            "expected features of type float16, float32 or float64 in .*, got int64",
        ),
        (np.array([["a"]] * 3), "expected features of type float16, float32 or float64 in .*, got <U1"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, array: np.ndarray[Any, Any], told: str) -> None:
    np.save(tmp_path / "f.npy", array)
    with pytest.raises(DataError, match=told):
        read(tmp_path / "f.npy")


def test_rows_without_ids_need_an_items_file(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", np.ones((3, 2)))
    with pytest.raises(DataError, match=r"the rows of .* have no ids, so they need an items file"):
        read(tmp_path / "f.npy", ordered=False)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"features": np.ones((1, 1))}, "expected the arrays 'features' and 'ids' in .*, found 'features'"),
        ({"features": np.ones((2, 1)), "ids": np.array(["a"])}, "an id for each of the 2 rows of .*, got 1"),
        ({"features": np.ones((2, 1)), "ids": np.array(["a", "a"])}, "every id of .* once, but 'a' is there"),
        (
            {"features": np.ones((2, 1)), "ids": np.array(["x", "y"])},
            "to be item ids such as 'a', but none is; the first is 'x'",
        ),
        (
            {"features": np.ones((1, 1)), "ids": np.array([1.5])},
            "to be a list of integers or text, got float64",
        ),
    ],
)
def test_archives_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        read(save(tmp_path / "f.npz", **arrays))


def test_pickled_objects_are_never_read(tmp_path: Path) -> None:
    array = np.array([{"a": 1}, None, None], dtype=object)
    np.save(tmp_path / "f.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=r"expected an array in .*, got: .*Python objects"):
        read(tmp_path / "f.npy")
    np.savez(tmp_path / "f.npz", features=array, ids=array)
    with pytest.raises(DataError, match=r"expected named arrays in .*, got: "):
        read(tmp_path / "f.npz")


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"item_id": ["a"]}, r"expected one column of lists \(the features\) in .*, found none"),
        ({"item_id": ["a"], "x": [[1.0]], "y": [[1.0]]}, "expected one column of lists .*, found 'x', 'y'"),
        (
            {"item_id": ["a", "b"], "x": [[1.0], [1.0, 2.0]]},
            "expected lists of one length in column 'x' .* 1 to 2",
        ),
        ({"other": ["a"], "x": [[1.0]]}, "expected the item column in .*, found one column .other."),
        ({"item_id": ["a", None], "x": [[1.0], [1.0]]}, "an id for every row of .*, but 1 rows have none"),
        ({"item_id": ["a"], "x": [[1]]}, "expected features of type float16, float32 or float64"),
        ({"item_id": ["a"], "x": [[1.0, None]]}, "hold NaN or infinity"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path: Path, columns: dict[str, Any], told: str) -> None:
    pl.DataFrame(columns).write_parquet(tmp_path / "f.parquet")
    with pytest.raises(DataError, match=told):
        read(tmp_path / "f.parquet")


def test_an_archive_under_the_wrong_name_is_told(tmp_path: Path) -> None:
    save(tmp_path / "f.npz", features=np.ones((3, 1)), ids=np.array(["a", "b", "c"])).rename(
        tmp_path / "f.npy"
    )
    with pytest.raises(DataError, match=r"got an archive of several; name it .npz"):
        read(tmp_path / "f.npy")
    np.save(tmp_path / "g.npy", np.ones((3, 1)))
    (tmp_path / "g.npy").rename(tmp_path / "g.npz")
    with pytest.raises(DataError, match=r"got a single one; name it .npy"):
        read(tmp_path / "g.npz")


def test_the_size_of_a_block_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.random.default_rng(0).normal(size=(7, 3))
    matrix[2] = 0
    np.save(tmp_path / "f.npy", np.asfortranarray(matrix))
    ids = pl.Series(list("abcdefg"))
    whole = read(tmp_path / "f.npy", ids=ids)
    monkeypatch.setattr(features_module, "_BLOCK_BYTES", 50)
    pieces = read(tmp_path / "f.npy", ids=ids)
    assert len(list(pieces.blocks())) == 4
    assert np.array_equal(values(whole), values(pieces))
    assert np.array_equal(whole.present, pieces.present)


@settings(max_examples=150, deadline=None)
@given(
    cut=st.integers(0, 400),
    place=st.integers(0, 399),
    byte=st.integers(0, 255),
    kind=st.sampled_from(["npy", "npz"]),
)
def test_damaged_files_are_read_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, cut: int, place: int, byte: int, kind: str
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    if kind == "npy":
        np.save(folder / "f.npy", np.ones((3, 8)))
    else:
        save(folder / "f.npz", features=np.ones((3, 1)), ids=np.array(["a", "b", "c"]))
    path = folder / f"f.{kind}"
    content = bytearray(path.read_bytes())
    content[place % len(content)] = byte
    path.write_bytes(bytes(content[: len(content) - cut] if cut % 2 else content))
    try:
        features = read(path)
    except DataError:
        return
    assert np.isfinite(values(features)).all()
