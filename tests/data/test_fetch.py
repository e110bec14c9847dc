"""Public sets come from a real server: one of our own, with a small zip file that the test makes."""

from __future__ import annotations

import hashlib
import io
import socket
import stat
import threading
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fuserec.data import public_sets
from fuserec.data.archive import unpack
from fuserec.data.build import Sources, build
from fuserec.data.fetch import fetch_set, terms_of
from fuserec.data.movielens import write_tables
from fuserec.errors import ConfigError, DataError

SMALL, OLD = "movielens-latest-small", "movielens-1m"


@dataclass
class Server:
    """A folder on the web: what it answers, by name; and what was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def publish(self, archive: bytes, name: str = "ml-latest-small.zip", *, md5: str | None = None) -> None:
        self.files[name] = archive
        told = md5 or hashlib.md5(archive, usedforsecurity=False).hexdigest()
        self.files[f"{name}.md5"] = f"MD5 ({name}) = {told}\n".encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    published = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            published.asked.append(name)
            if name not in published.files:
                self.send_error(404)
                return
            content = published.files[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if name in published.cut else content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        published.address = f"http://127.0.0.1:{running.server_address[1]}/movielens"
        yield published
        running.shutdown()
        thread.join()


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


LATEST = {
    "ml-latest-small/": "",
    "ml-latest-small/ratings.csv": "userId,movieId,rating,timestamp\n1,10,4.0,5\n1,20,3.5,6\n2,10,1.0,7\n",
    "ml-latest-small/movies.csv": 'movieId,title,genres\n10,"Pond, The (1999)",Drama\n20,Été (2001),Comedy|Drama\n',
    "ml-latest-small/README.txt": "Terms.\n",
}


def nothing_is_left(place: Path) -> bool:
    return list(place.iterdir()) == []


def test_a_set_becomes_a_folder_that_build_reads(server: Server, tmp_path: Path) -> None:
    server.publish(zipped(LATEST))
    seen: list[tuple[int, int]] = []
    fetch_set(
        SMALL,
        tmp_path / "movies",
        accept_terms=True,
        address=server.address,
        on_bytes=lambda *at: seen.append(at),
    )
    assert sorted(path.name for path in (tmp_path / "movies").iterdir()) == [
        "README.txt",
        "movies.csv",
        "ratings.csv",
    ]
    size = len(server.files["ml-latest-small.zip"])
    assert sum(came for came, _ in seen) == size
    assert {told for _, told in seen} == {size}
    sources = Sources(events=tmp_path / "movies" / "ratings.csv", items=tmp_path / "movies" / "movies.csv")
    dataset = build(tmp_path / "dataset", sources)
    assert dataset.items["title"].to_list() == ["Pond, The (1999)", "Été (2001)"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset", "movies"]


def test_the_files_of_movielens_1m_become_tables(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_bytes(b"1::10::5::978300760\r\n2::11::3::978300761\n")
    (tmp_path / "movies.dat").write_bytes(
        '10::Été, "L\'" (1999)::Drama|War\n11::A\x85B::Comedy\n'.encode("latin-1")
    )
    write_tables(tmp_path)
    assert (tmp_path / "ratings.csv").read_text() == (
        "userId,movieId,rating,timestamp\n1,10,5,978300760\n2,11,3,978300761\n"
    )
    dataset = build(
        tmp_path / "dataset", Sources(events=tmp_path / "ratings.csv", items=tmp_path / "movies.csv")
    )
    assert dataset.items["title"].to_list() == ['Été, "L\'" (1999)', "A\x85B"]
    (tmp_path / "ratings.dat").write_bytes(b"1::10::5::978300760\n2::11::3\n")
    with pytest.raises(DataError, match=r"expected 4 fields .* got 3 in ratings\.dat:2"):
        write_tables(tmp_path)


def test_movielens_1m_is_compared_with_both_of_its_checksums(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zipped(
        {f"ml-1m/{name}.dat": "1::2::3::4\n" for name in ("ratings", "users")}
        | {"ml-1m/movies.dat": "2::T::G\n"}
    )
    server.publish(archive, "ml-1m.zip")
    with pytest.raises(
        DataError, match=r"expected the MD5 c4d9eecfca2ab87c1945afe126590906 of .*/ml-1m\.zip, got"
    ):
        fetch_set(OLD, tmp_path / "movies", accept_terms=True, address=server.address)
    assert nothing_is_left(tmp_path)
    # The true archive may not be in the repository, so a small one takes its place to show the way to the end.
    small = replace(public_sets.SETS[OLD], md5=hashlib.md5(archive, usedforsecurity=False).hexdigest())
    monkeypatch.setitem(public_sets.SETS, OLD, small)
    fetch_set(OLD, tmp_path / "movies", accept_terms=True, address=server.address)
    assert (tmp_path / "movies" / "movies.csv").read_text() == "movieId,title,genres\n2,T,G\n"
    server.publish(archive, "ml-1m.zip", md5="0" * 32)
    with pytest.raises(DataError, match=r"expected the MD5 0{32} of"):
        fetch_set(OLD, tmp_path / "again", accept_terms=True, address=server.address)


def test_without_the_terms_accepted_nothing_is_asked_of_the_server(server: Server, tmp_path: Path) -> None:
    server.publish(zipped(LATEST))
    with pytest.raises(ConfigError, match=r"expected --accept-terms.*ml-latest-small-README\.html"):
        fetch_set(SMALL, tmp_path / "movies", accept_terms=False, address=server.address)
    assert server.asked == []
    assert nothing_is_left(tmp_path)
    assert terms_of(SMALL)[-1] == (
        "in full: https://files.grouplens.org/datasets/movielens/ml-latest-small-README.html"
    )


def test_another_file_than_the_published_one_is_refused(server: Server, tmp_path: Path) -> None:
    server.publish(zipped(LATEST), md5="f" * 32)
    with pytest.raises(DataError, match=r"expected the MD5 f{32} of .* got [0-9a-f]{32}: it was damaged"):
        fetch_set(SMALL, tmp_path / "movies", accept_terms=True, address=server.address)
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize("text", [b"<html>Moved</html>", b"\xff\xfe"])
def test_a_checksum_file_without_a_checksum_is_refused(server: Server, tmp_path: Path, text: bytes) -> None:
    server.publish(zipped(LATEST))
    server.files["ml-latest-small.zip.md5"] = text
    with pytest.raises(DataError, match=r"expected one MD5 in http.*\.zip\.md5, got"):
        fetch_set(SMALL, tmp_path / "movies", accept_terms=True, address=server.address)


def test_a_download_that_breaks_off_leaves_nothing_and_can_begin_anew(server: Server, tmp_path: Path) -> None:
    server.publish(zipped(LATEST))
    server.cut.add("ml-latest-small.zip")
    with pytest.raises(DataError, match=r"the connection broke off; try again|cannot reach"):
        fetch_set(SMALL, tmp_path / "movies", accept_terms=True, address=server.address)
    assert nothing_is_left(tmp_path)
    server.cut.clear()
    fetch_set(SMALL, tmp_path / "movies", accept_terms=True, address=server.address)
    assert (tmp_path / "movies" / "ratings.csv").exists()


def test_ctrl_c_in_the_middle_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.publish(zipped(LATEST))

    def stop(came: int, size: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_set(SMALL, tmp_path / "movies", accept_terms=True, address=server.address, on_bytes=stop)
    assert nothing_is_left(tmp_path)


def test_a_missing_file_is_one_line(server: Server, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"but the server answers 404 Not Found; look where its makers"
    ) as told:
        fetch_set(SMALL, tmp_path / "movies", accept_terms=True, address=server.address)
    assert "\n" not in str(told.value)
    assert nothing_is_left(tmp_path)


def test_without_a_connection_it_says_what_to_do_and_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(
            DataError, match=r"cannot reach http.*refused.*pass --address file:///THAT/FOLDER"
        ) as told:
            fetch_set(SMALL, tmp_path / "movies", accept_terms=True, address=address)
    assert "\n" not in str(told.value)
    assert nothing_is_left(tmp_path)
    carried = tmp_path / "carried here"
    carried.mkdir()
    archive = zipped(LATEST)
    (carried / "ml-latest-small.zip").write_bytes(archive)
    with pytest.raises(DataError, match=r"cannot reach file:.*No such file"):
        fetch_set(SMALL, tmp_path / "movies", accept_terms=True, address=carried.as_uri())
    (carried / "ml-latest-small.zip.md5").write_text(hashlib.md5(archive, usedforsecurity=False).hexdigest())
    fetch_set(SMALL, tmp_path / "movies", accept_terms=True, address=carried.as_uri())
    assert (tmp_path / "movies" / "ratings.csv").exists()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("../evil.csv", "'../evil.csv' would land outside its folder"),
        ("ml/../../evil.csv", "would land outside its folder"),
        ("/evil.csv", "'/evil.csv' would land outside its folder"),
        ("C:/evil.csv", "would land outside its folder"),
        ("ml\\..\\evil.csv", "would land outside its folder"),
    ],
)
def test_a_member_that_would_land_elsewhere_is_refused(
    server: Server, tmp_path: Path, name: str, told: str
) -> None:
    server.publish(zipped({**LATEST, name: "evil"}))
    place = tmp_path / "inner"
    place.mkdir()
    with pytest.raises(DataError, match=told.replace(".", r"\.")):
        fetch_set(SMALL, place / "movies", accept_terms=True, address=server.address)
    assert nothing_is_left(place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inner"]


def test_links_bombs_and_broken_archives_are_refused(tmp_path: Path) -> None:
    place, archive = tmp_path / "out", tmp_path / "some.zip"
    place.mkdir()
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(link, "/etc/hosts")
    with pytest.raises(DataError, match=r"expected plain files in some\.zip, but 'link' is a link"):
        unpack(archive, place)
    archive.write_bytes(zipped({"zeros": bytes(10_000)}))
    with pytest.raises(DataError, match=r"expected at most 5,000 bytes in some\.zip, got 10,000"):
        unpack(archive, place, most_bytes=5_000)
    archive.write_bytes(zipped({f"file-{number}": "" for number in range(1001)}))
    with pytest.raises(DataError, match=r"expected at most 1000 files in some\.zip, got 1001"):
        unpack(archive, place)
    content = bytearray(zipped({"letters": "abcdefgh" * 100}))
    content[45] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"expected a whole zip file, but some\.zip is broken"):
        unpack(archive, place)
    archive.write_bytes(b"<html>no such file</html>")
    with pytest.raises(DataError, match=r"expected a whole zip file, but some\.zip is broken"):
        unpack(archive, place)


def test_an_archive_without_the_expected_files_is_refused(server: Server, tmp_path: Path) -> None:
    server.publish(zipped({"ml/movies.csv": "movieId\n"}))
    with pytest.raises(DataError, match=r"expected ratings\.csv in .* its makers changed the set"):
        fetch_set(SMALL, tmp_path / "movies", accept_terms=True, address=server.address)


def test_names_addresses_and_places_are_checked(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no public set 'movielens-1M'; did you mean 'movielens-1m'"):
        fetch_set("movielens-1M", tmp_path / "movies", accept_terms=True)
    with pytest.raises(ConfigError, match=r"expected an address that begins with https://.*got 'ftp://x'"):
        fetch_set(SMALL, tmp_path / "movies", accept_terms=True, address="ftp://x")
    server.publish(zipped(LATEST))
    (tmp_path / "movies").mkdir()
    (tmp_path / "movies" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="choose another or pass --overwrite"):
        fetch_set(SMALL, tmp_path / "movies", accept_terms=True, address=server.address)
    with pytest.raises(DataError, match=r"expected ratings\.csv in the folder to overwrite"):
        fetch_set(SMALL, tmp_path / "movies", accept_terms=True, address=server.address, overwrite=True)
    assert server.asked == []
