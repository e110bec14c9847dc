"""Items as people know them: by id, title and category."""

from __future__ import annotations

from dataclasses import dataclass

from fuserec.data.categories import categories_of
from fuserec.data.dataset import Dataset

__all__ = ["Label", "label"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What an item is called.

    Attributes:
        id: the user's own name of it.
        title: its title, or its id as text where it has none.
        category: its categories with commas between them, or an empty text.
    """

    id: str | int
    title: str
    category: str


def label(dataset: Dataset, item: int) -> Label:
    """The label of an item row."""
    one = dataset.items[item : item + 1]
    known = one.row(0, named=True)
    return Label(
        id=known["item_id"],
        title=known.get("title") or str(known["item_id"]),
        category=", ".join(categories_of(one)[0]) if "category" in known else "",
    )
