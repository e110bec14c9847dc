"""What stands on the disk: whole whatever happens, and nobody else's touched."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.features.conftest import draw, files

from fuserec.data import Dataset
from fuserec.errors import ConfigError, DataError
from fuserec.features.job import make_features
from fuserec.features.store import read_told
from fuserec.features.tasks import Asked


def test_a_run_that_dies_while_it_publishes_leaves_the_old_dataset(
    shop: Dataset, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("fuserec.features.store.write_json", refuse)
        with pytest.raises(DataError, match="No space left on device"):
            make_features(shop, Asked(images=photos))
    assert Dataset.open(shop.path).manifest_hash == shop.manifest_hash
    make_features(shop, Asked(images=photos))
    dataset = Dataset.open(shop.path)
    assert {f"features/{path.name}" for path in (shop.path / "features").iterdir() if path.is_file()} == {
        name for name in dataset.manifest.files if name.startswith("features/")
    }, "files of the run that died stay"


def test_what_is_told_changes_no_file_of_the_old_dataset_where_the_rows_stay(
    shop: Dataset, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_features(shop, Asked(images=photos)).dataset
    shutil.copy(photos / "i0.png", photos / "i0.webp")  # told as one of several, but not taken

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("fuserec.features.store.write_json", refuse)
        with pytest.raises(DataError, match="No space left on device"):
            make_features(first, Asked(images=photos))
    assert Dataset.open(shop.path).manifest_hash == first.manifest_hash
    again = make_features(first, Asked(images=photos))
    assert [one.item_id for one in again.told["image"]] == ["i0", "i7"]
    assert Dataset.open(shop.path).manifest_hash == again.dataset.manifest_hash


def test_older_features_of_the_modality_go_and_others_files_stay(shop: Dataset, photos: Path) -> None:
    first = make_features(shop, Asked(images=photos)).dataset
    (shop.path / "features" / "image-notes.npy").write_bytes(b"mine")
    draw(photos / "i2.png", 99)
    second = make_features(first, Asked(images=photos)).dataset
    ours = {path.name for path in (shop.path / "features").iterdir() if path.is_file()}
    named = {Path(name).name for name in second.manifest.files if name.startswith("features/")}
    assert ours == named | {"image-notes.npy"}


def test_hashes_of_other_items_are_refused(
    shop: Dataset, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(images=photos, only=("image",))
    made = make_features(shop, asked).dataset
    draw(photos / "i7.png", 7)
    read = Dataset.feature_array

    def cut(self: Dataset, modality: str, part: str = "") -> Any:
        return read(self, modality, part)[: 3 if part == "inputs" else None]

    monkeypatch.setattr(Dataset, "feature_array", cut)
    with pytest.raises(DataError, match=r"for 8 items, got .* and \(3, 32\); pass --fresh"):
        make_features(made, asked)


def test_an_edited_summary_is_written_anew_whatever_it_holds(shop: Dataset, photos: Path) -> None:
    asked = Asked(images=photos, only=("image",))
    made = make_features(shop, asked).dataset
    whole = (made.path / "summary.md").read_bytes()
    (made.path / "summary.md").write_bytes(b"\xff\xfe")
    make_features(made, asked)
    assert (made.path / "summary.md").read_bytes() == whole


def test_an_edited_table_of_problems_is_refused(shop: Dataset, photos: Path) -> None:
    made = make_features(shop, Asked(images=photos, only=("image",))).dataset
    (table,) = made.path.glob("features/image-*.problems.csv")
    table.write_text("item_id,source,kind,lost,message,input\ni1,i1.png,odd,no,odd,nonsense\n")
    with pytest.raises(DataError, match=r"expected a table of problems in .*, got: non-hexadecimal"):
        read_told(made, "image")


def test_a_full_disk_leaves_nothing_half_written(
    shop: Dataset, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(shop)

    def full(path: Path, blocks: object, *_: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("fuserec.features.store.write_npy", full)
    with pytest.raises(DataError, match=r"could not write features into .*: No space left on device"):
        make_features(shop, Asked(images=photos, only=("category",)))
    assert files(shop) == before


@pytest.mark.parametrize("name", ["features", "features/.work"])
def test_a_link_out_of_the_dataset_is_not_written_through(
    shop: Dataset, photos: Path, tmp_path: Path, name: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "sub").mkdir(parents=True)
    (shop.path / name).parent.mkdir(exist_ok=True)
    (shop.path / name).symlink_to(elsewhere)
    with pytest.raises(DataError, match=f"{name} is a link; put the folder itself there"):
        make_features(shop, Asked(images=photos))
    assert [path.name for path in elsewhere.iterdir()] == ["sub"]


def test_two_processes_do_not_work_on_one_dataset(shop: Dataset, photos: Path) -> None:
    from fuserec.training.lock import exclusive

    work = shop.path / "features" / ".work"
    work.mkdir(parents=True)
    with (
        exclusive(work / "lock", task="hold it"),
        pytest.raises(ConfigError, match="to be the only one to make"),
    ):
        make_features(shop, Asked(images=photos))
