"""What the demo's page tells: who had what, who gets what, and how good that is."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from fuserec.batch import Pairs, Prepared
from fuserec.data.dataset import Dataset
from fuserec.demo.page import Bar, Card, Page, Shelf, render
from fuserec.index.answers import Answer, answers
from fuserec.index.build import assemble
from fuserec.index.recommend import Recommender
from fuserec.training.checkpoint import Run
from fuserec.training.compare import System, compare_systems

__all__ = ["tell"]

NAMES = {"popularity": "Popularity", "lightgcn": "LightGCN", "tmfun": "TMFUN"}
NOTES = {
    "popularity": "the same for everyone",
    "lightgcn": "who took what",
    "tmfun": "that, texts and pictures",
}
METRIC = "Recall@20"
READERS, HAD, GETS = 6, 4, 6


def tell(dataset: Dataset, runs: Sequence[Run], *, sample: Path) -> str:
    """The page as HTML.

    Args:
        dataset: what was trained on.
        runs: measured on test; the first is the reference, the last recommends.
        sample: the raw files, for their pictures.
    """
    prepared, best = dataset.prepare(), runs[-1]
    known = Pairs(
        users=torch.cat([prepared.corpus.train.users, prepared.valid.users]),
        items=torch.cat([prepared.corpus.train.items, prepared.valid.items]),
    )
    recommender = assemble(best.scorer(), dataset, prepared, known=known)
    told = _Told(recommender, sample)
    return render(
        Page(
            title="The Lantern Bookshop",
            lead=f"{dataset.num_users:,} readers took {dataset.manifest.counts.interactions:,} of "
            f"{dataset.num_items:,} books. fuserec learned their tastes from who took what, from the texts and from "
            "the covers, and was then asked for the book that each reader took last, which it had not seen.",
            chart=f"Share of readers whose last book is among the 20 recommended out of {dataset.num_items:,} "
            "(Recall@20 on the test part; difference from popularity with its 95 % interval, paired by reader).",
            bars=[_bar(system) for system in compare_systems(runs, "test", [METRIC])],
            known=list(_readers(told, dataset, prepared)),
            new=list(_strangers(told, dataset)),
            commands=_commands(dataset, best, sample),
        )
    )


class _Told:
    """Items as cards."""

    def __init__(self, recommender: Recommender, sample: Path) -> None:
        self.recommender = recommender
        self._sample = sample
        columns = recommender.items.select("item_id", "image")
        self._pictures: dict[Any, str | None] = dict(columns.iter_rows())

    def cards(self, items: Sequence[dict[str, Any]], *, taken: Sequence[Any] = ()) -> list[Card]:
        return [
            Card(
                title=item["title"] or str(item["item_id"]),
                category=(item["category"] or "").replace("|", ", "),
                picture=self._picture(item["item_id"]),
                hit=item["item_id"] in taken,
            )
            for item in items
        ]

    def shelf(self, answer: Answer, heading: str, note: str, *, taken: Sequence[Any] = ()) -> Shelf:
        return Shelf(
            heading=heading,
            note=note,
            had=self.cards(answer.lately),
            gets=self.cards(answer.items[:GETS], taken=taken),
        )

    def _picture(self, item: Any) -> str | None:
        name = self._pictures[item]
        if not name:
            return None
        content = base64.b64encode((self._sample / name).read_bytes()).decode()
        return f"data:image/png;base64,{content}"


def _bar(system: System) -> Bar:
    value = system.metrics[METRIC]
    found = value.comparison
    verdict = (
        ""
        if found is None
        else f"{found.verdict}: {found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    )
    return Bar(name=NAMES[system.name], value=value.mean, verdict=verdict, note=NOTES[system.name])


def _readers(told: _Told, dataset: Dataset, prepared: Prepared) -> Iterator[Shelf]:
    """Users at equal steps through the list, so that nobody picks them by how well it went."""
    rows = torch.arange(0, dataset.num_users, max(1, dataset.num_users // READERS))[:READERS]
    users = dataset.user_ids.gather(rows.numpy())
    whole = answers(told.recommender, users, k=dataset.num_items, lately=HAD)
    for row, answer in zip(rows, whole, strict=True):
        taken = dataset.item_ids.gather(prepared.test.items[prepared.test.users == row].numpy()).to_list()
        placed = [item for item in answer.items if item["item_id"] in taken]
        note = "; ".join(
            f"next took \u201c{item['title']}\u201d: place {item['rank']} of {len(answer.items):,}"
            for item in placed
        )
        yield told.shelf(answer, f"Reader {answer.user_id}", note, taken=taken)


def _strangers(told: _Told, dataset: Dataset) -> Iterator[Shelf]:
    """A reader nobody knows, with three books of one shelf, and one with none."""
    pictured = dataset.items.filter(dataset.items["image"].fill_null("") != "")
    theme = pictured["category"][0]
    history = pictured.filter(pictured["category"] == theme)["item_id"].head(3).to_list()
    some, none = answers(told.recommender, histories=[history, []], k=GETS, lately=HAD)
    yield told.shelf(some, "A new reader", "served from three books alone, without training again")
    yield told.shelf(none, "A reader without any book", "gets the most popular ones, and is told so")


def _commands(dataset: Dataset, run: Run, sample: Path) -> list[str]:
    user = dataset.user_ids[0]
    return [
        f"fuserec data sample {sample}",
        f"fuserec data build {dataset.path} --events {sample}/events.csv --items {sample}/items.csv \\",
        f"    --features text={sample}/features/text.npy --features image={sample}/features/image.npy",
        f"fuserec train demo/{run.recipe.name} --data {dataset.path} --out {run.path}",
        f"fuserec evaluate {run.path} --part test",
        f"fuserec compare {run.path.parent}/popularity {run.path} --part test",
        f"fuserec recommend {run.path} --user {user}",
    ]
