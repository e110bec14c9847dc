from __future__ import annotations

import re
from html.parser import HTMLParser

from fuserec.demo.page import Bar, Card, Page, Shelf, render

PICTURE = "data:image/png;base64,AAAA"


def page(**changes: object) -> Page:
    cards = [
        Card(title="<b>Tom & Ann</b>", category="Sea tales", picture=PICTURE, hit=True),
        Card(title="Bare", category="", picture=None),
    ]
    values: dict[str, object] = {
        "title": "A shop",
        "lead": "lead",
        "chart": "chart",
        "bars": [
            Bar(name="low", value=0.1, verdict="", note="a"),
            Bar(name="high", value=0.4, verdict="ahead: +0.3", note="b"),
        ],
        "known": [Shelf(heading="Reader 1", note="note", had=[], gets=cards)],
        "new": [],
        "commands": ["fuserec doctor && true"],
    }
    return Page(**(values | changes))  # type: ignore[arg-type]


class _Outline(HTMLParser):
    """Tags that stay open, and addresses that leave the page."""

    void = frozenset({"meta", "img", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.void:
            self.open.append(tag)
        self.outside += [
            f"{k}={v}" for k, v in attrs if k in {"src", "href"} and not str(v).startswith("data:")
        ]
        assert tag not in {"script", "link"}

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    outline = _Outline()
    outline.feed(render(page()))
    assert (outline.open, outline.outside) == ([], [])


def test_what_data_says_is_text_and_never_markup() -> None:
    text = render(page())
    assert "<b>Tom" not in text
    assert "&lt;b&gt;Tom &amp; Ann&lt;/b&gt;" in text
    assert "fuserec doctor &amp;&amp; true" in text


def test_it_says_that_the_data_is_synthetic() -> None:
    assert "Synthetic data" in render(page())


def test_bars_are_as_long_as_their_values() -> None:
    low, high = (float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', render(page())))
    assert low / high == 0.25


def test_what_was_taken_next_is_marked_and_nothing_else() -> None:
    assert render(page()).count('<span class="hit">') == 1


def test_an_item_without_a_picture_shows_its_title_in_its_place() -> None:
    assert '<div class="blank"><span>Bare</span></div>' in render(page())


def test_someone_without_a_history_is_told_so() -> None:
    assert "nothing yet" in render(page())
