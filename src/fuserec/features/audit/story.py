"""What the page tells: the figures, and items to look at with their neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from fuserec.batch import Corpus, Histories, Pairs, Prepared
from fuserec.data.dataset import Dataset
from fuserec.data.report import count
from fuserec.features.audit.labels import label
from fuserec.features.audit.measure import LEAST_FINE, LEAST_LIFT, Audit
from fuserec.features.audit.page import Bar, Card, Example, Fact, Page, Pair, Shelf, Summary, Table, render
from fuserec.features.audit.spread import FEWEST_DIRECTIONS, MOST_ALIKE
from fuserec.features.audit.thumbnails import Thumbnails, make_thumbnails
from fuserec.features.audit.twins import ALIKE
from fuserec.features.audit.words import lift_of, rounded, share, worth_header, worth_rows
from fuserec.features.worth import Worth

__all__ = ["tell"]

EXAMPLES = 12
GETS = 8
"""Neighbours shown of each item."""


def tell(
    dataset: Dataset,
    prepared: Prepared,
    audits: Sequence[Audit],
    *,
    images: Path | None = None,
    worth: Sequence[Worth] = (),
    metrics: Sequence[str] = (),
    run: str = "",
) -> str:
    """The page as HTML.

    Args:
        dataset: gives ids, titles and categories.
        prepared: the same under the split that was audited.
        audits: of its modalities.
        images: folder of the pictures; None shows titles in their place.
        worth: of the modalities to a run.
        metrics: that were compared.
        run: what it is and measures without any change.

    Raises:
        DataError: the folder of the pictures is missing or cannot be read.
    """
    items = _examples(prepared.corpus, audits)
    pairs = {one.name: one.twins.examples for one in audits if one.twins is not None and one.twins.examples}
    shown = {row for item in items for one in audits for row in _nearest(one, item)} | set(items)
    shown |= {row for twins in pairs.values() for twin in twins for row in (twin.first, twin.second)}
    pictures = Thumbnails(uris={}) if images is None else make_thumbnails(dataset, images, sorted(shown))
    cards = _Cards(dataset, _Users.of(prepared.corpus), pictures)
    return render(
        Page(
            title="What is the content worth?",
            badges=list(_badges(dataset)),
            lead=_lead(dataset, prepared, images, pictures),
            summaries=[_summary(one) for one in audits],
            thresholds=_THRESHOLDS,
            worth=_worth(worth, metrics, run),
            chosen=_chosen(items),
            examples=[
                Example(
                    item=cards.of(item, f"{count(cards.users.number(item), 'user')} in training"),
                    shelves=[_shelf(one, item, cards) for one in audits],
                )
                for item in items
            ],
            twins={
                name: [
                    Pair(
                        first=cards.of(twin.first),
                        second=cards.of(twin.second),
                        note="identical" if twin.identical else f"cosine {twin.cosine:.4f}",
                    )
                    for twin in twins
                ]
                for name, twins in pairs.items()
            },
        )
    )


_THRESHOLDS = (
    f"Collapsed: a mean cosine of all pairs of {MOST_ALIKE} or more, or fewer than {FEWEST_DIRECTIONS} directions. "
    f"No better than chance: a lift below {LEAST_LIFT}, or less than two standard errors above 1. "
    f"Weak: below {LEAST_FINE}. Fine: all else. Doubles are pairs with a cosine of {ALIKE} or more."
)


@dataclass(frozen=True, slots=True)
class _Users:
    """Who has which item in training."""

    of_item: Histories

    @classmethod
    def of(cls, corpus: Corpus) -> _Users:
        distinct = corpus.train.distinct(num_items=corpus.num_items)
        turned = Pairs(users=distinct.items, items=distinct.users)
        return cls(Histories.of(turned, num_users=corpus.num_items))

    def set_of(self, item: int) -> set[int]:
        start, stop = self.of_item.offsets[item : item + 2].tolist()
        return set(self.of_item.items[start:stop].tolist())

    def number(self, item: int) -> int:
        return len(self.set_of(item))

    def shared(self, one: int, other: int) -> int:
        return len(self.set_of(one) & self.set_of(other))


@dataclass(frozen=True, slots=True)
class _Cards:
    """Items as they are shown."""

    dataset: Dataset
    users: _Users
    pictures: Thumbnails

    def of(self, item: int, *notes: str) -> Card:
        called = label(self.dataset, item)
        return Card(
            title=called.title, category=called.category, picture=self.pictures.uris.get(item), notes=notes
        )


def _examples(corpus: Corpus, audits: Sequence[Audit]) -> list[int]:
    """Items at equal steps through those that have content and a training event, so that nobody picks them."""
    neighbours = torch.stack([(one.graph.neighbours >= 0).any(1) for one in audits]).any(0)
    rows = torch.nonzero(neighbours & (corpus.popularity() > 0)).squeeze(1)
    return rows[:: max(1, len(rows) // EXAMPLES)][:EXAMPLES].tolist()


def _nearest(one: Audit, item: int) -> list[int]:
    row: list[int] = one.graph.neighbours[item][:GETS].tolist()
    return [neighbour for neighbour in row if neighbour >= 0]


def _shelf(one: Audit, item: int, cards: _Cards) -> Shelf:
    nearest = _nearest(one, item)
    measure = "cosine" if one.kind == "features" else "weight"
    weights = one.graph.weights[item].tolist()
    return Shelf(
        modality=one.name,
        cards=[
            cards.of(other, f"{measure} {weight:.3f}", f"{cards.users.shared(item, other):,} shared")
            for other, weight in zip(nearest, weights, strict=False)
        ],
    )


def _badges(dataset: Dataset) -> Iterator[str]:
    if dataset.manifest.synthetic:
        yield "Synthetic data: made by a program, not by people"
    if dataset.manifest.shuffle_seed is not None:
        yield f"Shuffled: content dealt anew among the items (seed {dataset.manifest.shuffle_seed}), as a control"


def _lead(dataset: Dataset, prepared: Prepared, images: Path | None, pictures: Thumbnails) -> str:
    corpus = prepared.corpus
    words = (
        f"{count(corpus.num_items, 'item')}, {count(corpus.num_users, 'user')} and "
        f"{count(len(corpus.train), 'training event')} of the split {prepared.split}; held-out events play no part. "
        "Lift is how many times more training users an item shares with its ten nearest others than with items as "
        "popular as these; after a shuffle, which deals the content anew among the items, it must be near 1."
    )
    if images is None and "image" in dataset.items.columns:
        words += " The catalogue names pictures: pass --images FOLDER to see them here."
    if pictures.unreadable:
        words += f" {count(pictures.unreadable, 'picture')} of those shown could not be read."
    return words


def _summary(one: Audit) -> Summary:
    facts = [
        Fact(
            name="items with it",
            value=share(one.items, one.of_items),
            note=f"{one.items:,} of {one.of_items:,}",
        ),
        Fact(name="training events", value=share(one.events, one.of_events), note="on items that have it"),
    ]
    if one.twins is not None:
        among = f"{one.twins.identical:,} identical" if one.twins.pairs else "no pair is all but the same"
        facts.append(Fact(name="doubles", value=f"{one.twins.pairs:,}", note=among))
    if one.spread is not None:
        facts += [
            Fact(
                name="directions",
                value=f"{one.spread.directions:.1f}",
                note=f"of a width of {one.spread.width}",
            ),
            Fact(name="mean cosine", value=rounded(one.spread.mean_cosine), note="of all pairs"),
            Fact(name="constant", value=f"{one.spread.constant:,}", note=f"of {one.spread.width} columns"),
        ]
    return Summary(
        name=one.name,
        kind="a graph alone" if one.spread is None else f"{one.spread.width} features",
        verdict=one.verdict,
        lift="?" if one.lift.lift is None else f"{one.lift.lift:.2f}",
        error="" if one.lift.lift is None else f"\u00b1 {2 * one.lift.error:.2f}",
        bars=[
            Bar(name="neighbours", value=one.lift.shared, figure=f"{one.lift.shared:.3g}"),
            Bar(name="as popular", value=one.lift.chance, figure=f"{one.lift.chance:.3g}"),
            Bar(
                name="shuffled",
                value=one.lift.chance * (one.shuffled.lift or 0.0),
                figure=f"{lift_of(one.shuffled)}\u00d7",
            ),
        ],
        facts=facts,
    )


def _worth(worth: Sequence[Worth], metrics: Sequence[str], run: str) -> Table | None:
    if not worth:
        return None
    return Table(
        title="What a trained model draws from it",
        note=f"{run}. Each modality is taken from it without training again: no item has it, all of its rows are zero, or it "
        "is dealt anew among the items. In brackets the paired 95 % interval over users.",
        header=worth_header(metrics),
        rows=[list(row) for row in worth_rows(worth, metrics)],
    )


def _chosen(items: Sequence[int]) -> str:
    return (
        f"{count(len(items), 'item')}, chosen by counting through those with content and training events, not by how well "
        "it went. Under each neighbour: how like it is, and how many training users both have."
    )
