from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from fuserec.data.build import Sources, build
from fuserec.data.dataset import Dataset
from fuserec.data.schema import BuildOptions
from fuserec.data.shuffled import shuffle_content
from fuserec.errors import CheckpointError, ConfigError, DataError
from fuserec.features.audit import words
from fuserec.features.audit.report import Report, check_page, make_report
from fuserec.training.checkpoint import Run
from fuserec.training.config import parse_recipe
from fuserec.training.run import train


@pytest.fixture(scope="session")
def report(shop: Dataset) -> Report:
    return make_report(shop)


@pytest.fixture(scope="session")
def run(shop: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = parse_recipe({"model": {"name": "content_knn", "weights": {"text": 1.0}}})
    return train(recipe, shop.prepare(), tmp_path_factory.mktemp("runs") / "content")


class _Outline(HTMLParser):
    """Tags that stay open, addresses that leave the page, text, and pictures."""

    void = frozenset({"meta", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []
        self.text: list[str] = []
        self.pictures = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "link", "iframe"}
        if tag not in self.void:
            self.open.append(tag)
        self.pictures += tag == "img"
        self.outside += [
            f"{k}={v}" for k, v in attrs if k in {"src", "href"} and not str(v).startswith("data:")
        ]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def outline(page: str) -> _Outline:
    read = _Outline()
    read.feed(page)
    read.close()
    assert read.open == []
    assert read.outside == []
    assert "@import" not in page
    assert "url(" not in page
    return read


def test_the_table_has_a_line_for_each_modality(report: Report) -> None:
    assert report.title == "shop, training events of leave-one-out (synthetic data)"
    text, kind = sorted(words.rows(report.audits), reverse=True)
    assert [len(text), len(kind)] == [len(words.HEADER)] * 2
    told = dict(zip(words.HEADER, text, strict=True))
    assert (told["modality"], told["made of"], told["items"]) == ("text", "6 features", "95.8 %")
    assert (told["doubles"], told["constant"]) == ("1", "0")
    told = dict(zip(words.HEADER, kind, strict=True))
    assert (told["made of"], told["doubles"], told["directions"], told["verdict"]) == (
        "a graph",
        "",
        "",
        "fine",
    )


def test_near_duplicates_are_named_by_id_and_title(report: Report) -> None:
    (line,) = words.twin_lines(report.dataset, report.audits)
    assert line == (
        "text: 1 pair of near-duplicates among 2 items, 1 identical: "
        "i21 '<b>Thing</b> & 21' and i23 '<b>Thing</b> & 23' (identical)"
    )


def test_json_names_items_by_id_and_says_what_was_looked_at(shop: Dataset, report: Report) -> None:
    told = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert (told["dataset_hash"], told["split"], told["seed"], told["synthetic"]) == (
        shop.manifest_hash,
        "leave-one-out",
        0,
        True,
    )
    assert told["run"] is None
    text = next(one for one in told["modalities"] if one["modality"] == "text")
    assert (text["items"], text["of_items"]) == (23, 24)
    assert text["twins"]["examples"][0]["items"] == ["i21", "i23"]
    assert text["neighbours"]["lift"] == pytest.approx(
        text["neighbours"]["shared"] / text["neighbours"]["chance"]
    )


def test_the_page_is_whole_needs_nothing_else_and_escapes_titles(report: Report) -> None:
    page = report.page(None)
    read = outline(page)
    assert "<b>Thing</b>" not in page
    assert "&lt;b&gt;Thing&lt;/b&gt; &amp; 3" in page
    text = " ".join(read.text)
    assert "Synthetic data: made by a program, not by people" in text
    assert "pass --images FOLDER to see them here" in text
    assert "the item has none" in text
    assert "odd, <i>" in text
    assert "All but the same" in text
    assert read.pictures == 0
    assert "What a trained model draws from it" not in text


def test_the_page_shows_the_pictures_that_can_be_read(report: Report, raw: Path) -> None:
    page = report.page(raw / "pictures")
    assert outline(page).pictures > 12
    assert len(set(re.findall(r'src="(data:image/jpeg;base64,[^"]+)"', page))) == 11
    assert "1 picture of those shown could not be read" in page
    with pytest.raises(DataError, match="nowhere"):
        report.page(raw / "nowhere")


def test_examples_are_counted_out_and_their_shared_users_are_right(report: Report, shop: Dataset) -> None:
    page = report.page(None)
    events, parts = shop.interactions(), shop.parts()
    train = events.filter(parts == "train")
    users = [set(train.filter(train["item"] == item)["user"].to_list()) for item in range(24)]
    kind = next(one for one in report.audits if one.name == "kind")
    articles = page.split('<article class="example">')[1:]
    assert len(articles) == 12
    first = articles[0]
    assert f"{len(users[0])} users in training" in first
    shelf = first.split("<h4>by ")[1:]
    told = next(part for part in shelf if part.startswith("kind"))
    expected = [len(users[0] & users[int(j)]) for j in kind.graph.neighbours[0] if j >= 0]
    assert [int(n) for n in re.findall(r"<em>(\d+) shared</em>", told)] == expected
    assert "weight 0.500" in told


def test_a_run_is_told_with_its_losses_and_what_it_does_not_use(shop: Dataset, run: Run) -> None:
    report = make_report(shop, run=run)
    assert report.worth is not None
    assert report.worth.metrics == ["Recall@20", "NDCG@20"]
    assert "(reproduced)" in report.worth.title
    assert report.worth.title.startswith("content_knn, valid, 40 users: Recall@20 ")
    rows = list(words.worth_rows(report.worth.found, report.worth.metrics))
    assert {row[0]: row[1] for row in rows if row[1] == "unused"} == {"kind": "unused"}
    assert [row[1] for row in rows if row[0] == "text"] == ["left out", "zeroed", "shuffled"]
    assert {len(row) for row in rows} == {len(words.worth_header(report.worth.metrics))}
    told = json.loads(json.dumps(report.as_json(), allow_nan=False))["run"]
    assert (told["part"], told["deviation_from_stored"], told["path"]) == ("valid", 0.0, str(run.path))
    assert {one["modality"]: one["used"] for one in told["modalities"]} == {"text": True, "kind": False}
    text = " ".join(outline(report.page(None)).text)
    assert "What a trained model draws from it" in text
    assert "unused" in text


def test_a_run_that_uses_no_modality_has_nothing_to_compare(shop: Dataset, tmp_path: Path) -> None:
    recipe = parse_recipe({"model": {"name": "popularity"}})
    report = make_report(shop, run=train(recipe, shop.prepare(), tmp_path / "run"))
    assert report.worth is not None
    assert report.worth.metrics == []
    assert "no modality used (reproduced)" in report.worth.title
    assert [row[1] for row in words.worth_rows(report.worth.found, [])] == ["unused", "unused"]
    outline(report.page(None))


def test_a_shuffled_dataset_says_so(shop: Dataset, tmp_path: Path) -> None:
    report = make_report(shuffle_content(shop, tmp_path / "control", seed=1))
    assert report.title.endswith("(synthetic data, shuffled content)")
    assert "dealt anew among the items (seed 1), as a control" in report.page(None)


def test_items_without_titles_are_called_by_their_ids(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(
        "user,item\n" + "".join(f"{u},{10 + (u + i) % 6}\n" for u in range(9) for i in range(4))
    )
    (tmp_path / "items.csv").write_text("item\n" + "".join(f"{item}\n" for item in range(10, 16)))
    np.save(tmp_path / "v.npy", np.repeat(np.eye(3, dtype=np.float32), 2, axis=0))
    sources = Sources(
        events=tmp_path / "events.csv", items=tmp_path / "items.csv", features={"v": tmp_path / "v.npy"}
    )
    report = make_report(build(tmp_path / "shop", sources, BuildOptions()))
    (line,) = words.twin_lines(report.dataset, report.audits)
    assert line.endswith("3 identical: 10 and 11 (identical); 12 and 13 (identical); 14 and 15 (identical)")
    page = report.page(None)
    outline(page)
    assert "Synthetic" not in page
    assert "<b>10</b>" in page


def test_bad_inputs_are_refused(shop: Dataset, run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no split 'leave' in .*known: 'leave-one-out'"):
        make_report(shop, "leave")
    with pytest.raises(ConfigError, match=r"expected the split 'leave-one-out' that .* got 'random'"):
        make_report(shop, "random", run=run)
    (tmp_path / "events.csv").write_text("user,item\n" + "a,1\na,2\na,3\nb,1\nb,2\nb,4\n")
    bare = build(tmp_path / "bare", Sources(events=tmp_path / "events.csv"), BuildOptions())
    with pytest.raises(DataError, match="expected a dataset with features or graphs to look at, got none"):
        make_report(bare)
    np.save(tmp_path / "v.npy", np.eye(4, dtype=np.float32))
    (tmp_path / "items.csv").write_text("item\n1\n2\n3\n4\n")
    sources = Sources(
        events=tmp_path / "events.csv", items=tmp_path / "items.csv", features={"v": tmp_path / "v.npy"}
    )
    with pytest.raises(CheckpointError, match="was trained on other data"):
        make_report(build(tmp_path / "other", sources, BuildOptions()), run=run)


def test_a_page_has_a_place_of_its_own(tmp_path: Path) -> None:
    check_page(tmp_path / "new.html", overwrite=False)
    with pytest.raises(ConfigError, match=r"expected a page ending in \.html, got .*new\.txt"):
        check_page(tmp_path / "new.txt", overwrite=False)
    (tmp_path / "old.html").write_text("mine")
    with pytest.raises(DataError, match=r"expected a new file, but .*old\.html exists"):
        check_page(tmp_path / "old.html", overwrite=False)
    check_page(tmp_path / "old.html", overwrite=True)
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(DataError, match="exists"):
        check_page(tmp_path / "folder.html", overwrite=True)
    with pytest.raises(DataError, match="to be a folder, but it is none"):
        check_page(tmp_path / "none" / "new.html", overwrite=False)
