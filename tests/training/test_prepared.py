from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuserec.batch import Prepared
from fuserec.errors import DataError
from fuserec.testing.corpora import tiny_prepared
from fuserec.testing.strategies import prepared as any_prepared
from fuserec.training.prepared import load_prepared, save_prepared

# The shape hook (beartype) looks at a random entry of each list it checks, which hypothesis warns about.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


def flat(value: Any, name: str = "prepared") -> dict[str, Any]:
    """Every tensor and plain value in a dataclass, by its path."""
    if dataclasses.is_dataclass(value):
        parts = {f"{name}.{entry.name}": getattr(value, entry.name) for entry in dataclasses.fields(value)}
    elif isinstance(value, tuple):
        parts = {f"{name}[{place}]": entry for place, entry in enumerate(value)}
    else:
        return {name: value}
    return {path: leaf for part, entry in parts.items() for path, leaf in flat(entry, part).items()}


def assert_equal(one: Prepared, other: Prepared) -> None:
    ours, theirs = flat(one), flat(other)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if isinstance(value, Tensor):
            assert value.dtype == theirs[name].dtype, name
            assert torch.equal(value, theirs[name]), name
        else:
            assert type(value) is type(theirs[name]), name
            assert value == theirs[name], name


def bytes_of(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@settings(max_examples=25, deadline=None)
@given(any_prepared(), st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=9))
def test_a_prepared_dataset_comes_back_bit_by_bit(
    tmp_path_factory: pytest.TempPathFactory, prepared: Prepared, split: str
) -> None:
    prepared = dataclasses.replace(prepared, split=split)
    path = tmp_path_factory.mktemp("prepared") / "p.npz"
    save_prepared(prepared, path)
    assert_equal(load_prepared(path), prepared)


@pytest.mark.parametrize(
    ("modalities", "ready_graph"),
    [((), ()), (("text",), ()), ((), ("image",)), (("text",), ("text",)), (("text", "image"), ("audio",))],
)
def test_features_and_graphs_that_are_missing_stay_missing(
    tmp_path: Path, modalities: tuple[str, ...], ready_graph: tuple[str, ...]
) -> None:
    prepared = tiny_prepared(modalities=modalities, ready_graph=ready_graph)
    save_prepared(prepared, tmp_path / "p.npz")
    again = load_prepared(tmp_path / "p.npz").corpus.modalities
    assert [(each.features is None, each.graph is None) for each in again] == [
        (each.name not in modalities, each.name not in ready_graph) for each in prepared.corpus.modalities
    ]


def test_names_of_modalities_may_be_anything(tmp_path: Path) -> None:
    prepared = tiny_prepared(
        modalities=("train", "a/b", "../x", "画像", "modalities"), ready_graph=("valid",)
    )
    save_prepared(prepared, tmp_path / "p.npz")
    assert_equal(load_prepared(tmp_path / "p.npz"), prepared)


def test_the_file_is_plain_arrays(tmp_path: Path) -> None:
    save_prepared(tiny_prepared(ready_graph=("image",)), tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype != object for name in arrays.files)


def test_what_is_loaded_can_be_trained_on(tmp_path: Path) -> None:
    # torch warns, hence fails here, on arrays that cannot be written
    save_prepared(tiny_prepared(), tmp_path / "p.npz")
    features = load_prepared(tmp_path / "p.npz").corpus.modalities[0].features
    assert features is not None
    features += 1


@pytest.mark.parametrize("content", [b"", b"user,item\n1,2\n", b"PK\x03\x04", bytes_of(a=1)[:-9]])
def test_junk_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"^expected named arrays in .*p\.npz, got: [^\n]+$"):
        load_prepared(tmp_path / "p.npz")


@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        ({"a": 1}, "no format"),
        ({"format": 2}, "format 2"),
        ({"format": "x"}, "format 'x'"),
        ({"format": [1.5, 2]}, r"format \[1.5, 2.0\]"),
    ],
)
def test_another_format_is_named(tmp_path: Path, arrays: dict[str, Any], found: str) -> None:
    (tmp_path / "p.npz").write_bytes(bytes_of(**arrays))
    with pytest.raises(
        DataError,
        match=rf"^expected a prepared dataset of format 1 in .*p\.npz, got {found}; prepare the dataset again$",
    ):
        load_prepared(tmp_path / "p.npz")


def test_a_missing_array_is_named(tmp_path: Path) -> None:
    save_prepared(tiny_prepared(), tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz", allow_pickle=False) as file:
        whole = {name: file[name] for name in file.files}
    for name in ("train.users", "test.items", "text.present", "split_hash", "modalities"):
        (tmp_path / "less.npz").write_bytes(bytes_of(**{key: whole[key] for key in whole if key != name}))
        with pytest.raises(
            DataError, match=rf"expected a prepared dataset in .*less\.npz, but it has no array '{name}'"
        ):
            load_prepared(tmp_path / "less.npz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected the file .*p\.npz, but it does not exist"):
        load_prepared(tmp_path / "p.npz")


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("train.users", lambda array: array.astype(np.float64), "train.users of type float64"),
        ("train.items", lambda array: array[:-1], "train.users of type int64 and shape"),
        ("valid.items", lambda array: array + 1000, "a row of valid.items outside 0 to num_items"),
        ("test.users", lambda array: array - 1000, "a row of test.users outside 0 to num_users"),
        ("num_users", lambda array: np.array([array, array]), r"num_users of shape \(2,\)"),
    ],
)
def test_arrays_that_do_not_fit_are_one_line(
    tmp_path: Path, name: str, change: Callable[[Any], Any], told: str
) -> None:
    path = tmp_path / "p.npz"
    save_prepared(tiny_prepared(), path)
    arrays = dict(np.load(path))
    path.write_bytes(bytes_of(**{**arrays, name: change(arrays[name])}))
    with pytest.raises(DataError, match=rf"^expected a prepared dataset in .*p\.npz, got: {told}[^\n]*$"):
        load_prepared(path)
