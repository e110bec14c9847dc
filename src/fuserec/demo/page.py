"""The demo's page: one HTML file that needs nothing else, neither scripts nor the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Bar", "Card", "Page", "Shelf", "render"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """An item as it is shown.

    Attributes:
        title: its title.
        category: its category, or an empty text.
        picture: a data URI, or None where the item has no picture.
        hit: this is what the user really took next.
    """

    title: str
    category: str
    picture: str | None
    hit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """What someone had and what they get.

    Attributes:
        heading: who.
        note: how they are served.
        had: the latest first.
        gets: the best first.
    """

    heading: str
    note: str
    had: Sequence[Card]
    gets: Sequence[Card]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One model's number.

    Attributes:
        name: of the model.
        value: from 0 to 1.
        verdict: against the reference, or an empty text for the reference itself.
        note: what the model knows.
    """

    name: str
    value: float
    verdict: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Everything on the page.

    Attributes:
        title: its heading.
        lead: a few sentences below it.
        chart: what the bars show.
        bars: one a model.
        known: users of the data.
        new: histories and empty histories.
        commands: how to do the same by hand.
    """

    title: str
    lead: str
    chart: str
    bars: Sequence[Bar]
    known: Sequence[Shelf]
    new: Sequence[Shelf]
    commands: Sequence[str]


def render(page: Page) -> str:
    """The page as HTML."""
    commands = "\n".join(escape(command) for command in page.commands)
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
<p class="badge">Synthetic data: fuserec invented this shop, its books, covers and readers</p>
<h1>{escape(page.title)}</h1>
<p class="lead">{escape(page.lead)}</p>
</header>
<main>
<section>
<h2>How good is it?</h2>
<p>{escape(page.chart)}</p>
{_chart(page.bars)}
</section>
<section>
<h2>What readers get</h2>
<p>Six readers, chosen by counting through the list and not by how well it went. The book that each of them
really took next was hidden from training: the line says where it was placed, and it is
<span class="key">marked</span> where it is among the first six.</p>
{"".join(_shelf(shelf) for shelf in page.known)}
</section>
<section>
<h2>Someone new</h2>
{"".join(_shelf(shelf) for shelf in page.new)}
</section>
<section>
<h2>The same by hand</h2>
<pre>{commands}</pre>
</section>
</main>
</body>
</html>
"""


def _shelf(shelf: Shelf) -> str:
    had = "".join(_card(card) for card in shelf.had) or '<p class="none">nothing yet</p>'
    gets = "".join(_card(card) for card in shelf.gets)
    return f"""<article>
<h3>{escape(shelf.heading)} <small>{escape(shelf.note)}</small></h3>
<div class="shelf">
<div class="had"><h4>had lately</h4><div class="row">{had}</div></div>
<div class="gets"><h4>gets</h4><div class="row">{gets}</div></div>
</div>
</article>
"""


def _card(card: Card) -> str:
    title, category = escape(card.title), escape(card.category)
    picture = (
        f'<img src="{card.picture}" alt="" loading="lazy">'
        if card.picture
        else f'<div class="blank"><span>{title}</span></div>'
    )
    mark = '<span class="hit">took it next</span>' if card.hit else ""
    return (
        f"<figure{' class=marked' if card.hit else ''}>{picture}{mark}"
        f"<figcaption><b>{title}</b><i>{category}</i></figcaption></figure>"
    )


def _chart(bars: Sequence[Bar]) -> str:
    """Horizontal bars as inline SVG; the longest fills the width."""
    longest, height = max(bar.value for bar in bars), 56
    parts = []
    for place, bar in enumerate(bars):
        y, width = place * height, 420 * bar.value / longest
        parts.append(
            f'<text x="150" y="{y + 24}" class="name">{escape(bar.name)}</text>'
            f'<text x="150" y="{y + 41}" class="small">{escape(bar.note)}</text>'
            f'<rect x="166" y="{y + 10}" width="{width:.1f}" height="30" rx="4" class="bar b{place}"/>'
            f'<text x="{166 + width + 10:.1f}" y="{y + 24}" class="value">{bar.value:.3f}</text>'
            f'<text x="{166 + width + 10:.1f}" y="{y + 41}" class="verdict">{escape(bar.verdict)}</text>'
        )
    label = "; ".join(f"{bar.name} {bar.value:.3f}" for bar in bars)
    return (
        f'<svg viewBox="0 0 800 {len(bars) * height}" role="img" aria-label="{escape(label)}">'
        + "".join(parts)
        + "</svg>"
    )


_STYLE = """
:root { color-scheme: light; --ink: #2d2a3e; --soft: #77718a; --paper: #faf5ea; --card: #fffdf8; --line: #e8dfcd;
  --teal: #2f8f83; --gold: #d99a2b; --plum: #6b5b95; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
header, main { max-width: 1140px; margin: 0 auto; padding: 0 28px; }
header { padding-top: 44px; }
h1 { font: 600 42px/1.15 Georgia, "DejaVu Serif", serif; margin: 14px 0 10px; letter-spacing: -.5px; }
h2 { font: 600 25px/1.2 Georgia, "DejaVu Serif", serif; margin: 52px 0 6px; }
h3 { font-size: 16px; margin: 0 0 10px; }
h3 small { font-weight: 400; color: var(--soft); margin-left: 8px; }
h4 { font-size: 11px; font-weight: 600; text-transform: uppercase; letter-spacing: .09em; color: var(--soft);
  margin: 0 0 8px; }
p { max-width: 46em; }
.lead { font-size: 18px; color: #4a4560; }
.badge { display: inline-block; margin: 0; padding: 5px 13px; border-radius: 99px; background: #fff0cf;
  color: #7a5608; font-size: 13px; border: 1px solid #f0d79c; }
svg { width: 100%; max-width: 860px; height: auto; display: block; margin-top: 14px; }
svg text { font: 14px system-ui, "DejaVu Sans", sans-serif; fill: var(--ink); }
svg .name { text-anchor: end; font-weight: 600; }
svg .small { text-anchor: end; font-size: 11px; fill: var(--soft); }
svg .value { font-weight: 600; }
svg .verdict { font-size: 11.5px; fill: var(--soft); }
.bar { fill: #cfc6dd; } .b1 { fill: var(--plum); } .b2 { fill: var(--teal); }
article { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 18px 20px 8px;
  margin: 16px 0; }
.shelf { display: grid; grid-template-columns: max-content 1fr; gap: 12px 24px; }
.had img, .had .blank { opacity: .82; }
.had { padding-right: 24px; border-right: 1px solid var(--line); }
.row { display: flex; flex-wrap: wrap; gap: 10px; }
figure { margin: 0 0 10px; width: 88px; position: relative; }
img, .blank { width: 88px; height: 110px; border-radius: 7px; display: block; object-fit: cover;
  box-shadow: 0 1px 4px rgb(60 45 20 / .22); }
.blank { background: linear-gradient(160deg, #e9e0cf, #d9cdb6); display: flex; align-items: center; padding: 10px; }
.blank span { font: italic 11.5px/1.3 Georgia, "DejaVu Serif", serif; color: #6d5f45; overflow: hidden;
  max-height: 90px; }
figcaption { font-size: 11.5px; line-height: 1.3; margin-top: 6px; }
figcaption b { font-weight: 500; display: -webkit-box; -webkit-line-clamp: 2; -webkit-box-orient: vertical;
  overflow: hidden; }
figcaption i { display: block; color: var(--soft); font-style: normal; font-size: 11px; }
.marked img, .marked .blank { outline: 3px solid var(--teal); outline-offset: 2px; }
.hit { position: absolute; top: 98px; left: 0; right: 0; margin: 0 auto; width: max-content; background: var(--teal);
  color: #fff; font-size: 10px; padding: 1px 7px; border-radius: 99px; }
.key { color: var(--teal); font-weight: 600; }
.none { color: var(--soft); font-style: italic; margin: 30px 20px; }
pre { background: #2d2a3e; color: #f2ead9; padding: 18px 20px; border-radius: 12px; overflow-x: auto;
  font: 13px/1.6 ui-monospace, "DejaVu Sans Mono", monospace; margin-bottom: 60px; }
@media (max-width: 1100px) { .shelf { grid-template-columns: 1fr; } .had { border-right: 0; padding-right: 0; } }
@media (max-width: 600px) { h1 { font-size: 32px; } }
"""
