"""Which picture of a folder belongs to which item, without ever leaving the folder."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuserec.content.pictures import folder
from fuserec.content.pictures.folder import Found, find_pictures
from fuserec.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of pictures with something beside it that nobody may see."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "1.jpg").write_bytes(b"secret")
    return tmp_path / "pictures"


def put(root: Path, *places: str) -> None:
    for place in places:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(b"x")


def by_id(root: Path, *ids: str) -> Found:
    return find_pictures(root, ids)


def by_name(root: Path, *names: str | None) -> Found:
    return find_pictures(root, [str(number) for number in range(len(names))], names)


def places(root: Path, found: Found) -> list[str | None]:
    return [None if path is None else str(path.relative_to(root)) for path in found.paths]


def kinds(found: Found) -> list[tuple[int, str, bool]]:
    return [(problem.position, problem.kind, problem.lost) for problem in found.problems]


# By id.


def test_a_picture_named_after_its_item_is_found_whatever_the_case_of_its_suffix(root: Path) -> None:
    put(root, "a.jpg", "b.JPEG", "c.Png", "d.webp", "e.gif", "f.bmp", "g.tif", "h.TIFF")
    found = by_id(root, *"hgfedcba")
    assert places(root, found) == [
        "h.TIFF", "g.tif", "f.bmp", "e.gif", "d.webp", "c.Png", "b.JPEG", "a.jpg",
    ]  # fmt: skip
    assert (found.problems, found.strangers, found.closed) == ((), 0, ())


def test_an_item_without_a_picture_is_told(root: Path) -> None:
    put(root, "1.jpg", "2.svg", "3")
    found = by_id(root, "1", "2", "3")
    assert places(root, found) == ["1.jpg", None, None]
    assert kinds(found) == [(1, "missing", True), (2, "missing", True)]
    assert found.problems[0].message == "no picture in the folder is named after the id"


def test_files_of_no_item_are_counted_without_the_hidden(root: Path) -> None:
    put(root, "1.jpg", "1.png", "9.jpg", "readme.txt", ".hidden.jpg", ".cache/1.jpg")
    assert by_id(root, "1").strangers == 2


def test_an_id_with_slashes_lies_in_folders_or_is_percent_encoded(root: Path) -> None:
    put(root, "red/7.jpg", "red%2F8.jpg", "red%2f9.jpg", "x/y%2Fz.jpg", "100%25.jpg", "50%.jpg")
    ids = ["red/7", "red/8", "red/9", "x/y/z", "100%", "50%", "red%2F8"]
    found = by_id(root, *ids)
    assert places(root, found) == [
        "red/7.jpg", "red%2F8.jpg", "red%2f9.jpg", "x/y%2Fz.jpg", "100%25.jpg", "50%.jpg", "red%2F8.jpg",
    ]  # fmt: skip
    assert found.problems == ()


def test_of_several_pictures_of_an_item_the_first_by_name_is_taken_and_told(root: Path) -> None:
    put(root, "a/1.png", "a/1.jpg", "a%2F1.gif")
    found = by_id(root, "a/1")
    assert places(root, found) == ["a%2F1.gif"]
    assert kinds(found) == [(0, "ambiguous", False)]
    assert found.problems[0].message == "3 files fit; 'a%2F1.gif' was taken, not 'a/1.jpg', 'a/1.png'"
    assert found.strangers == 0


@pytest.mark.parametrize(("on_disk", "asked"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFD", "NFD")])
def test_accents_fit_however_they_are_written(root: Path, on_disk: str, asked: str) -> None:
    name = "Café Zürich"
    put(root, unicodedata.normalize(on_disk, name) + ".jpg")  # type: ignore[arg-type]
    asked_name = unicodedata.normalize(asked, name)  # type: ignore[arg-type]
    assert by_id(root, asked_name).paths[0] is not None
    assert by_name(root, asked_name + ".jpg").paths[0] is not None


def test_a_name_that_is_no_unicode_is_passed_over(root: Path) -> None:
    (root / os.fsdecode(b"\xff\xfe.jpg")).write_bytes(b"x")
    put(root, "1.jpg")
    found = by_id(root, "1", "\ufffd")
    assert (places(root, found), found.strangers) == (["1.jpg", None], 1)


@pytest.mark.parametrize(
    "item_id",
    ["", ".", "..", "../secret", "../beside/1", "/etc/passwd", "nul\0", "long" * 5000, "a//b", "./1", "1/", "%2e%2e/secret"],
)  # fmt: skip
def test_no_id_leaves_the_folder_or_fails(root: Path, item_id: str) -> None:
    put(root, "1.jpg", "..%2Fsecret.jpg", ".jpg")
    found = by_id(root, item_id)
    assert (found.paths, kinds(found)) == ((None,), [(0, "missing", True)])


# By the catalogue's names.


def test_named_pictures_are_found_below_the_folder(root: Path) -> None:
    put(root, "a/1.jpg", "two words.dat", "b/2.jpg")
    found = by_name(root, "./a//1.jpg", "two words.dat", "b\\2.jpg", "a/1.jpg")
    assert places(root, found) == ["a/1.jpg", "two words.dat", "b/2.jpg", "a/1.jpg"]
    assert (found.problems, found.strangers) == ((), 0)


def test_a_name_may_begin_with_the_folder_s_own(root: Path) -> None:
    put(root, "1.jpg", "pictures/2.jpg", "pictures/3.jpg", "3.jpg")
    found = by_name(root, "pictures/1.jpg", "pictures\\1.jpg", "pictures/2.jpg", "pictures/3.jpg")
    assert places(root, found) == ["1.jpg", "1.jpg", "pictures/2.jpg", "pictures/3.jpg"]
    assert found.strangers == 1, "the literal reading comes first"


def test_the_folder_s_own_name_is_the_one_that_the_user_gave(root: Path) -> None:
    put(root, "1.jpg")
    link = root.parent / "posters"
    link.symlink_to(root)
    assert places(link, by_name(link, "posters/1.jpg")) == ["1.jpg"]


def test_a_backslash_in_a_file_s_own_name_is_one(root: Path) -> None:
    put(root, "a\\1.jpg", "a/1.jpg")
    assert places(root, by_name(root, "a\\1.jpg")) == ["a\\1.jpg"]


def test_an_item_that_is_said_to_have_no_picture_is_no_problem(root: Path) -> None:
    found = by_name(root, None, "", "  ")
    assert (found.paths, found.problems) == ((None, None, None), ())


def test_a_named_picture_that_is_not_there_is_told(root: Path) -> None:
    found = by_name(root, "none.jpg", "pictures/none.jpg", "nul\0.jpg")
    assert kinds(found) == [(position, "missing", True) for position in range(3)]
    assert found.problems[0].message == "there is no such file in the folder"


@pytest.mark.parametrize(
    "name",
    ["../secret.jpg", "a/../../secret.jpg", "a/..", "..", "..\\secret.jpg", "/etc/passwd", "//host/1.jpg", "C:\\1.jpg"],
)  # fmt: skip
def test_a_name_that_leads_out_of_the_folder_is_refused(root: Path, name: str) -> None:
    put(root, "a/1.jpg")
    found = by_name(root, name)
    assert (found.paths, kinds(found)) == ((None,), [(0, "outside", True)])
    assert found.problems[0].message.startswith("expected a path from the folder on, got ")


def test_even_an_absolute_path_into_the_folder_is_refused(root: Path) -> None:
    put(root, "1.jpg")
    assert kinds(by_name(root, str(root / "1.jpg"))) == [(0, "outside", True)]


@pytest.mark.parametrize(
    "name", ["https://example.com/1.jpg", "HTTP://x/1.jpg", "file:///etc/passwd", "data:image/png;base64,"]
)
def test_nothing_is_downloaded(root: Path, name: str) -> None:
    found = by_name(root, name)
    assert kinds(found) == [(0, "url", True)]
    assert found.problems[0].message == "expected a file of the folder, got a URL; nothing is downloaded"


# Links and what is no file.


def test_a_link_to_a_file_inside_is_followed(root: Path) -> None:
    put(root, "real/1.jpg")
    (root / "2.jpg").symlink_to("real/1.jpg")
    for found in (by_id(root, "2"), by_name(root, "2.jpg")):
        assert (places(root, found), found.strangers) == (["real/1.jpg"], 0)


def test_a_link_to_a_folder_inside_is_followed_by_name(root: Path) -> None:
    put(root, "real/1.jpg")
    (root / "alias").symlink_to("real")
    assert places(root, by_name(root, "alias/1.jpg")) == ["real/1.jpg"]


def test_links_out_of_the_folder_are_refused(root: Path) -> None:
    (root / "1.jpg").symlink_to("../secret.jpg")
    (root / "2.jpg").symlink_to("3.jpg")
    (root / "3.jpg").symlink_to(root.parent / "secret.jpg")
    (root / "door").symlink_to("../beside")
    (root / "4.jpg").symlink_to("door/1.jpg")
    ids = by_id(root, "1", "2", "3", "4", "door/1")
    assert ids.paths == (None,) * 5
    assert [kind for _, kind, _ in kinds(ids)] == ["link", "link", "link", "link", "missing"]
    names = by_name(root, "1.jpg", "2.jpg", "3.jpg", "4.jpg", "door/1.jpg", "pictures/door/1.jpg")
    assert names.paths == (None,) * 6
    assert {kind for _, kind, _ in kinds(names)} == {"link"}
    assert names.problems[0].message == "a link on the way leads out of the folder; copy the file into it"


def test_a_folder_whose_name_begins_like_ours_is_outside(root: Path) -> None:
    (root.parent / "pictures2").mkdir()
    put(root.parent / "pictures2", "1.jpg")
    (root / "1.jpg").symlink_to("../pictures2/1.jpg")
    assert kinds(by_id(root, "1")) == [(0, "link", True)]


def test_links_in_circles_and_links_to_nothing_are_told(root: Path) -> None:
    (root / "loop").symlink_to(".")
    (root / "1.jpg").symlink_to("2.jpg")
    (root / "2.jpg").symlink_to("1.jpg")
    (root / "3.jpg").symlink_to("nowhere.jpg")
    found = by_id(root, "1", "3", "loop/loop/1")
    assert kinds(found) == [(0, "unreadable", True), (1, "missing", True), (2, "missing", True)]


def test_pipes_and_folders_are_no_pictures(root: Path) -> None:
    os.mkfifo(root / "1.jpg")
    (root / "2.jpg").mkdir()
    put(root, "2.jpg/inside.txt")
    found = by_name(root, "1.jpg", "2.jpg", ".")
    assert kinds(found) == [(position, "not a file", True) for position in range(3)]
    assert kinds(by_id(root, "1", "2")) == [(0, "not a file", True), (1, "missing", True)]


def test_a_device_behind_a_link_is_outside(root: Path) -> None:
    (root / "1.jpg").symlink_to("/dev/zero")
    assert kinds(by_id(root, "1")) == [(0, "link", True)]


def test_hidden_files_are_found_only_by_their_name(root: Path) -> None:
    put(root, ".1.jpg", ".cache/2.jpg")
    assert places(root, by_name(root, ".1.jpg", ".cache/2.jpg")) == [".1.jpg", ".cache/2.jpg"]
    assert by_id(root, ".1", ".cache/2").paths == (None, None)


# The folder itself.


def test_a_folder_that_is_missing_or_is_a_file_is_an_error(root: Path) -> None:
    with pytest.raises(DataError, match=r"expected a folder of pictures, but .*none: No such file"):
        by_id(root / "none", "1")
    with pytest.raises(DataError, match=r"secret\.jpg: Not a directory"):
        by_id(root.parent / "secret.jpg", "1")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_opened_is_told(root: Path) -> None:
    put(root, "1.jpg", "shut/2.jpg")
    (root / "shut").chmod(0)
    try:
        found = by_id(root, "1", "shut/2")
        assert (places(root, found), found.closed) == (["1.jpg", None], ("shut",))
        assert kinds(by_name(root, "shut/2.jpg")) == [(0, "unreadable", True)]
    finally:
        (root / "shut").chmod(0o700)


def test_no_file_is_asked_for_one_by_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """4,000 files are the entries of their folders and nothing else."""
    ids = [f"{number // 1000}/{number}" for number in range(4_000)]
    for number in range(20):
        (root / str(number)).mkdir()
    for item_id in ids:
        os.close(os.open(root / f"{item_id}.jpg", os.O_CREAT))
    monkeypatch.setattr(folder, "_settle", lambda *_: pytest.fail("asked the disk"))
    for found in (find_pictures(root, ids), find_pictures(root, ids, [f"{one}.jpg" for one in ids])):
        assert places(root, found) == [f"{item_id}.jpg" for item_id in ids]
        assert (found.problems, found.strangers) == ((), 0)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(
        st.sampled_from(
            [
                "..",
                ".",
                "",
                "a",
                "door",
                "loop",
                "pictures",
                "1.jpg",
                "secret.jpg",
                "beside",
                "%2e%2e",
                "~",
                "\0",
            ]
        )
        | st.text(max_size=3),
        max_size=6,
    ),
    separator=st.sampled_from(["/", "\\"]),
)
def test_whatever_is_asked_for_nothing_outside_is_found(
    root: Path, parts: Sequence[str], separator: str
) -> None:
    if not (root / "door").is_symlink():
        put(root, "a/1.jpg", "1.jpg")
        (root / "door").symlink_to("../beside")
        (root / "loop").symlink_to("../pictures")
    asked = separator.join(parts)
    for found in (by_id(root, asked), by_name(root, asked)):
        for path in found.paths:
            assert path is None or (path.is_file() and path.resolve() == path and path.is_relative_to(root))
            assert path is not None or len(found.problems) == 1 or not asked.strip()
