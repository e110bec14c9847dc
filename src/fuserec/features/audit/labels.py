"""Items as people know them: by id, title and category."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
    known: dict[str, Any] = dataset.items.row(item, named=True)
    category = known.get("category") or ""
    parts = category.split("|") if isinstance(category, str) else category
    return Label(
        id=known["item_id"],
        title=known.get("title") or str(known["item_id"]),
        category=", ".join(str(part) for part in parts),
    )
