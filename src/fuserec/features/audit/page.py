"""The page of an audit: one HTML file that needs nothing else, neither scripts nor the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Bar", "Card", "Example", "Fact", "Page", "Pair", "Shelf", "Summary", "Table", "render"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """An item as it is shown.

    Attributes:
        title: its title.
        category: its category, or an empty text.
        picture: a data URI, or None where there is none.
        notes: lines below it.
    """

    title: str
    category: str
    picture: str | None
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """The neighbours of an item in one modality, the nearest first; none where the item lacks it."""

    modality: str
    cards: Sequence[Card]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """An item and what each modality takes for its like."""

    item: Card
    shelves: Sequence[Shelf]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two items that are all but the same."""

    first: Card
    second: Card
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One figure with its name and what it is of."""

    name: str
    value: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One of a few lengths to compare, with its figure."""

    name: str
    value: float
    figure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One modality at a glance.

    Attributes:
        name: of the modality.
        kind: what it is made of.
        verdict: in a word.
        lift: the figure.
        error: how far it may be off, or an empty text.
        bars: neighbours, chance and control.
        facts: all else.
    """

    name: str
    kind: str
    verdict: str
    lift: str
    error: str
    bars: Sequence[Bar]
    facts: Sequence[Fact]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table with its heading."""

    title: str
    note: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Everything on the page.

    Attributes:
        title: its heading.
        badges: what must be known before anything else.
        lead: a few sentences below the heading.
        summaries: one a modality.
        thresholds: what the verdicts mean.
        worth: of the modalities to a run; None where no run was given.
        chosen: how the examples were chosen.
        examples: items with their neighbours.
        twins: pairs that are all but the same, by modality.
    """

    title: str
    badges: Sequence[str]
    lead: str
    summaries: Sequence[Summary]
    thresholds: str
    worth: Table | None
    chosen: str
    examples: Sequence[Example]
    twins: Mapping[str, Sequence[Pair]]


def render(page: Page) -> str:
    """The page as HTML."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(page.title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
{"".join(f'<p class="badge">{escape(badge)}</p>' for badge in page.badges)}
<h1>{escape(page.title)}</h1>
<p class="lead">{escape(page.lead)}</p>
</header>
<main>
<section class="summaries">{"".join(_summary(one) for one in page.summaries)}</section>
<p class="small">{escape(page.thresholds)}</p>
{_worth(page.worth)}
<section>
<h2>Neighbours to look at</h2>
<p>{escape(page.chosen)}</p>
{"".join(_example(one) for one in page.examples)}
</section>
{_twins(page.twins)}
</main>
</body>
</html>
"""


def _summary(one: Summary) -> str:
    facts = "".join(
        f"<div><dt>{escape(fact.name)}</dt><dd>{escape(fact.value)}<small>{escape(fact.note)}</small></dd></div>"
        for fact in one.facts
    )
    return f"""<article class="summary {_TONES.get(one.verdict, "plain")}">
<h2>{escape(one.name)} <small>{escape(one.kind)}</small></h2>
<p class="verdict">{escape(one.verdict)}</p>
<p class="lift"><b>{escape(one.lift)}</b>\u00d7 <small>{escape(one.error)}</small><span>as many shared training users as by chance</span></p>
{_bars(one.bars)}
<dl>{facts}</dl>
</article>
"""


_TONES = {"fine": "fine", "weak": "weak", "no better than chance": "bad", "collapsed": "bad"}


def _bars(bars: Sequence[Bar]) -> str:
    """Bars as plain boxes; the longest fills its place."""
    longest = max((bar.value for bar in bars), default=0.0) or 1.0
    lines = "".join(
        f'<div class="bar"><span>{escape(bar.name)}</span>'
        f'<i><u style="width:{100 * bar.value / longest:.1f}%"></u></i><b>{escape(bar.figure)}</b></div>'
        for bar in bars
    )
    return f'<div class="bars"><h4>users shared by a pair</h4>{lines}</div>'


def _worth(table: Table | None) -> str:
    if table is None:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in table.header)
    rows = "".join(
        "<tr>" + "".join(f"<td{_tone(cell)}>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in table.rows
    )
    return (
        f"<section><h2>{escape(table.title)}</h2><p>{escape(table.note)}</p>"
        f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></section>'
    )


def _tone(cell: str) -> str:
    return f' class="{cell}"' if cell in {"behind", "ahead", "level", "unused"} else ""


def _example(one: Example) -> str:
    return f"""<article class="example">
<div class="item">{_card(one.item)}</div>
<div class="shelves">{"".join(_shelf(shelf) for shelf in one.shelves)}</div>
</article>
"""


def _shelf(shelf: Shelf) -> str:
    cards = "".join(map(_card, shelf.cards))
    row = f'<div class="row">{cards}</div>' if cards else '<p class="none">the item has none</p>'
    return f"<h4>by {escape(shelf.modality)}</h4>{row}"


def _twins(twins: Mapping[str, Sequence[Pair]]) -> str:
    if not twins:
        return ""
    parts = []
    for name, pairs in twins.items():
        boxes = "".join(
            f'<div class="pair"><div class="row">{_card(pair.first)}{_card(pair.second)}</div>'
            f"<p>{escape(pair.note)}</p></div>"
            for pair in pairs
        )
        parts.append(f'<h3>by {escape(name)}</h3><div class="pairs">{boxes}</div>')
    return (
        "<section><h2>All but the same</h2><p>The first pairs of near-duplicates of each modality, an item in one of them at "
        f"most: doubles in the catalogue, or one placeholder for many.</p>{''.join(parts)}</section>"
    )


def _card(card: Card) -> str:
    title = escape(card.title)
    picture = (
        f'<img src="{escape(card.picture)}" alt="" loading="lazy">'
        if card.picture
        else f'<div class="blank"><span>{title}</span></div>'
    )
    notes = "".join(f"<em>{escape(note)}</em>" for note in card.notes)
    return (
        f'<figure title="{title}">{picture}<figcaption><b>{title}</b>'
        f"<i>{escape(card.category)}</i>{notes}</figcaption></figure>"
    )


_STYLE = """
:root { color-scheme: light; --ink: #2d2a3e; --soft: #6f6982; --paper: #faf5ea; --card: #fffdf8; --line: #e8dfcd;
  --teal: #24796f; --gold: #95640a; --red: #a8433a; --plum: #6b5b95; --tone: var(--soft); }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
header, main { max-width: 1180px; margin: 0 auto; padding: 0 28px; }
header { padding-top: 44px; }
main { padding-bottom: 70px; }
h1 { font: 600 42px/1.15 Georgia, "DejaVu Serif", serif; margin: 14px 0 10px; letter-spacing: -.5px; }
h2 { font: 600 25px/1.2 Georgia, "DejaVu Serif", serif; margin: 52px 0 6px; }
h3 { font-size: 16px; margin: 26px 0 10px; }
h4 { font-size: 11px; font-weight: 600; text-transform: uppercase; letter-spacing: .09em; color: var(--soft);
  margin: 0 0 8px; }
p { max-width: 52em; }
.lead { font-size: 17px; color: #4a4560; }
.small { font-size: 13px; color: var(--soft); max-width: none; }
.badge { display: inline-block; margin: 0 8px 0 0; padding: 5px 13px; border-radius: 99px; background: #fff0cf;
  color: #7a5608; font-size: 13px; border: 1px solid #f0d79c; }
.summaries { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 18px; margin-top: 28px; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 18px 20px; }
article.summary { max-width: 560px; width: 100%; border-top: 4px solid var(--tone); position: relative; }
.fine { --tone: var(--teal); } .weak { --tone: #d99a2b; } .bad { --tone: var(--red); }
.summary h2 { margin: 0; font-size: 22px; padding-right: 120px; }
.summary h2 small { display: block; font: 13px system-ui, "DejaVu Sans", sans-serif; color: var(--soft); }
.verdict { position: absolute; top: 18px; right: 18px; margin: 0; padding: 3px 12px; border-radius: 99px; color: #fff;
  background: var(--soft); font-size: 13px; font-weight: 600; max-width: 130px; text-align: center; line-height: 1.3; }
.fine .verdict { background: var(--teal); } .weak .verdict { background: var(--gold); }
.bad .verdict { background: var(--red); }
.lift { margin: 10px 0 14px; color: var(--soft); font-size: 20px; line-height: 1.2; }
.lift b { font: 600 40px/1 Georgia, "DejaVu Serif", serif; color: var(--ink); }
.lift small { font-size: 14px; } .lift span { display: block; font-size: 13px; margin-top: 4px; }
.bar { display: grid; grid-template-columns: 84px 1fr 52px; gap: 8px; align-items: center; font-size: 13px; }
.bar i { background: #f1e9d9; border-radius: 4px; height: 13px; }
.bar u { display: block; height: 13px; border-radius: 4px; background: #cfc6dd; min-width: 2px; }
.bar:nth-of-type(1) u { background: var(--tone); }
.bar b { font-weight: 600; }
dl { display: grid; grid-template-columns: repeat(3, 1fr); gap: 12px 14px; margin: 16px 0 0; border-top: 1px solid var(--line);
  padding-top: 14px; }
dt { font-size: 11.5px; color: var(--soft); } dd { margin: 0; font-weight: 600; font-size: 17px; line-height: 1.25; }
dd small { display: block; font-weight: 400; font-size: 11.5px; color: var(--soft); }
.table { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 6px 18px; }
table { border-collapse: collapse; font-size: 14px; width: 100%; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th { text-align: left; font-size: 11.5px; color: var(--soft); font-weight: 600; }
th, td { padding: 8px 14px 8px 0; white-space: nowrap; }
tbody tr { border-top: 1px solid var(--line); }
td.behind { color: var(--red); font-weight: 600; } td.ahead { color: var(--teal); font-weight: 600; }
td.level, td.unused { color: var(--soft); }
.example { display: grid; grid-template-columns: 132px minmax(0, 1fr); gap: 12px 26px; margin: 18px 0; }
.item { border-right: 1px solid var(--line); padding-right: 20px; }
.item figure { width: 112px; } .item img, .item .blank { width: 112px; height: 140px; }
.item b { font-weight: 600; font-size: 13px; -webkit-line-clamp: 4; }
.shelves h4:not(:first-child) { margin-top: 12px; }
.row { display: flex; gap: 12px; overflow-x: auto; padding: 1px 1px 6px; }
figure { margin: 0; width: 100px; flex: none; }
img, .blank { width: 88px; height: 110px; border-radius: 7px; display: block; object-fit: cover;
  box-shadow: 0 1px 4px rgb(60 45 20 / .22); }
.blank { background: linear-gradient(160deg, #e9e0cf, #d9cdb6); display: flex; align-items: center; padding: 9px; }
.blank span { font: italic 11.5px/1.3 Georgia, "DejaVu Serif", serif; color: #6d5f45; overflow: hidden; max-height: 90px; }
figcaption { font-size: 11.5px; line-height: 1.3; margin-top: 6px; }
figcaption b { font-weight: 500; display: -webkit-box; -webkit-line-clamp: 2; -webkit-box-orient: vertical; overflow: hidden; }
figcaption i { color: var(--soft); font-style: normal; font-size: 11px; display: -webkit-box; -webkit-line-clamp: 1;
  -webkit-box-orient: vertical; overflow: hidden; }
figcaption em { display: block; font-style: normal; font-size: 11px; color: var(--plum); }
figcaption i + em { margin-top: 3px; }
.none { color: var(--soft); font-style: italic; font-size: 14px; margin: 6px 0 14px; }
.pairs { display: flex; flex-wrap: wrap; gap: 14px; }
.pair { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 14px 16px 10px; max-width: 100%; }
.pair p { margin: 4px 0 0; font-size: 12px; color: var(--plum); }
@media (max-width: 700px) {
  header, main { padding: 0 16px; } header { padding-top: 26px; } h1 { font-size: 31px; }
  .summaries { grid-template-columns: minmax(0, 1fr); }
  .example { grid-template-columns: minmax(0, 1fr); }
  .item { border-right: 0; border-bottom: 1px solid var(--line); padding: 0 0 12px; }
  .item figure { width: 100%; display: flex; gap: 14px; } .item figcaption { margin: 0; }
}
"""
